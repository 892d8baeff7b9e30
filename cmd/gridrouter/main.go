// Command gridrouter is the production binary: the router itself, the GSLB DNS server, the
// operator of fleets in Kubernetes, and the tools that check documents and explain decisions.
//
// There is one file for each subcommand; flags, environment and exit statuses are the
// business of the package cmd/flags.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	// The public authorities, for machines and images that have none of their own. Those that the
	// system has, or that SSL_CERT_FILE and SSL_CERT_DIR name, are used instead of them.
	_ "golang.org/x/crypto/x509roots/fallback"

	"gridrouter.io/cmd/flags"
)

// version is what the linker says (-X main.version=v1.2.3); empty: what the build knows.
var version string

func main() {
	os.Exit(flags.Main(context.Background(), newRootCommand()))
}

// newRootCommand returns the whole command, ready to run.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "gridrouter",
		Short: "Route each request to the deck that owns it",
		Long: `gridrouter routes each request to the deck that owns it: host -> tenant -> rules -> key -> deck.

Every flag can be set by the environment (GRIDROUTER_ETCD for --etcd) and by --config FILE.
Exit status: 0 clean, 1 fault at run time, 2 bad flags, configuration or documents.`,
	}
	root.AddCommand(
		newServeCommand(),
		newCheckCommand(),
		newExplainCommand(),
		newGslbCommand(),
		newOperatorCommand(),
		newEtcdCommand(),
		newSnapshotCommand(),
		flags.NewVersionCommand("gridrouter", version),
	)
	flags.Bind(root, "GRIDROUTER_")
	return root
}
