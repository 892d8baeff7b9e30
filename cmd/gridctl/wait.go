package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
)

// newWaitCommand returns "gridctl wait".
func newWaitCommand(to *connection) *cobra.Command {
	var (
		revision int64
		timeout  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until all live routers and GSLB servers run a revision",
		Long: `Waits until every router and GSLB server that announces itself in etcd runs the documents of a
revision, such as the one that apply printed, or newer ones. Without --revision it is that of the newest
change, deletions by gridctl included, and a router that holds a mass change is behind.
Who is behind is told on the error output, whenever that changes. Routers tell of themselves every two seconds or so. One that was there and is
not any more, before it ran the revision, is waited for too: it may be cut off from etcd and
serve older documents. One that has other documents than others at the same revision, or other
forms of them in force, is named as well. If one was stopped on purpose, run the command again.

A router that started after a deletion tells the revision of the newest document, which is
lower than the deletion's. Where no document is as new as the revision, a router also
counts as up to date if its documents (by their hash) are those in etcd, or those of a
router that runs the revision. A GSLB server counts if the Gslb documents that it answers from are
those in etcd, whatever else was changed.

Exit status: 0 all run it, 1 some do not when the time is over (they are named), or no
router is alive, or etcd is away, 2 bad flags. --timeout bounds the whole wait here, and
one call to etcd may take 5s of it.`,
		Example: `  gridctl apply -f tenants/acme.yaml && gridctl wait
  gridctl wait --revision 81723 --timeout 2m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case revision < 0:
				return flags.Usagef("--revision: %d is no revision; write one that apply or fleet printed", revision)
			case timeout <= 0:
				return flags.Usagef("--timeout: %s is no time to wait; write 30s or so", timeout)
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				ctx, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				arrival, err := grid.Await(ctx, revision, func(goal catalog.Arrival, behind []catalog.Member) {
					printTo(cmd.ErrOrStderr(), "waiting for %d of %s to run revision %d: %s\n",
						len(behind), goal.Who(), goal.Revision, catalog.Stragglers(behind))
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s alive, all at revision %d or newer\n", arrival.Who(), arrival.Revision)
				return err
			})
		},
	}
	cmd.Flags().Int64Var(&revision, "revision", 0, "the `REVISION` to wait for (default that of the newest change)")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait in all")
	return cmd
}
