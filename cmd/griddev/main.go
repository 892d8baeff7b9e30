// Command griddev runs a whole grid on one machine, for development and demos: etcd,
// sample decks, a mesh ingress, GSLB, two routers and the LVS stand-in in front.
package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
)

func main() {
	os.Exit(flags.Main(context.Background(), newRootCommand(time.Now())))
}

// newRootCommand returns the whole command, ready to run. begun is when the process
// started, for the time that it tells.
func newRootCommand(begun time.Time) *cobra.Command {
	f := &gridFlags{begun: begun}
	root := &cobra.Command{
		Use:   "griddev",
		Short: "Run a whole grid on this machine, and show what it does",
		Long: `griddev runs a whole grid on this machine, on loopback addresses only: etcd, four sample
decks (two attached directly, two on a mesh), the mesh's ingress behind two VIPs, the GSLB DNS
server, two routers, and the LVS stand-in that clients use. Every part is a process of its own,
which may be killed. The sample documents are written to etcd by gridctl.

When all is ready it prints a guided tour: lines to paste into another terminal.

Ctrl-C stops everything in order; a second Ctrl-C at once.
SIGUSR1 (kill -USR1 PID) starts again whatever parts have ended.

The programs gridrouter and gridctl are looked for in the folder that holds griddev; "make build"
puts all of them into bin/. griddev needs Linux, where all of 127.0.0.0/8 is loopback.

Every flag can be set by the environment (GRIDDEV_NET for --net).
Exit status: 0 clean stop, 1 fault at run time (an address in use, a line of the tour that does
not answer as it should), 2 bad flags.`,
		Example: `  griddev                          start, print the tour, run until Ctrl-C
  griddev --tour                   start, run every line of the tour, stop
  griddev --net 127.78.0           a second grid beside the first
  griddev --data ~/grid            keep etcd's data and the logs, go on from them next time`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGrid(cmd, f) },
	}
	f.register(root)
	root.AddCommand(newPartCommand(), newCurlCommand(), newKubeCommand(begun))
	flags.Bind(root, "GRIDDEV_")
	return root
}
