// Command gridctl is the operator's hand tool: it reads and changes the documents that
// routers follow, and says what they make of them; it does so with fleets of routers in Kubernetes too
// (fleets*.go, by package deploy/services).
//
// There is one file for each subcommand; the rules of writing are those of the package
// discovery/catalog, flags and exit statuses those of cmd/flags.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
)

// version is what the linker says (-X main.version=v1.2.3); empty: what the build knows.
var version string

func main() { os.Exit(run()) }

// run is main with an exit status, so that deferred work is done.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return flags.Main(ctx, newRootCommand())
}

// newRootCommand returns the whole command, ready to run.
func newRootCommand() *cobra.Command {
	to := &connection{}
	root := &cobra.Command{
		Use:   "gridctl",
		Short: "Change the documents that routers follow, and ask what they make of them",
		Long: `gridctl changes the documents in etcd that routers follow (decks, tenants, pins, gslb),
and says what routers make of them. "gridctl fleets" does the same for fleets of routers in Kubernetes.

Every flag can be set by the environment (GRIDCTL_ETCD for --etcd) and by --config FILE.
Exit status: 0 done, 1 a conflict, a difference or a fault at run time (such as etcd being
away), 2 bad flags or documents: then nothing was written.`,
	}
	to.register(root.PersistentFlags())
	root.AddCommand(
		newApplyCommand(to),
		newDiffCommand(to),
		newGetCommand(to),
		newDeleteCommand(to),
		newHistoryCommand(to),
		newRollbackCommand(to),
		newPinsCommand(to),
		newExplainCommand(to),
		newFleetCommand(to),
		newFleetsCommand(to),
		newWaitCommand(to),
		newGuardCommand(to),
		newRestoredCommand(to),
		newExportCommand(to),
		flags.NewVersionCommand("gridctl", version),
	)
	flags.Bind(root, "GRIDCTL_")
	return root
}
