// Command gridbench measures what the project promises, on the machine it runs on.
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
	root := &cobra.Command{
		Use:   "gridbench",
		Short: "Measure what the project promises, on this machine",
		Long: `gridbench measures real parts of the project on this machine, over loopback only, and prints
what it found beside what is promised. docs/performance.md says how to read it.

Every flag can be set by the environment (GRIDBENCH_TENANTS for --tenants) and by --config FILE.
Exit status: 0 done, 1 a fault, or a promise that does not depend on the machine is broken, 2 bad
flags.`,
	}
	root.AddCommand(newLoadCommand(), newCompareCommand(), newTableCommand(), newPartCommand(), flags.NewVersionCommand("gridbench", version))
	flags.Bind(root, "GRIDBENCH_")
	return root
}
