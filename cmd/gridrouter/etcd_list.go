//go:build !slim

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/store"
)

// listedBackup is a line of a list.
type listedBackup struct {
	ID      string    `json:"id"`
	State   string    `json:"state"` // complete, unfinished, damaged
	Taken   time.Time `json:"taken"`
	Cluster string    `json:"cluster,omitempty"`
	// From and To are the first and last revision that can be restored.
	From   int64 `json:"from,omitempty"`
	To     int64 `json:"to,omitempty"`
	Deltas int64 `json:"deltas,omitempty"`
	Bytes  int64 `json:"bytes"`
	// Damage is the first that is seen.
	Damage string `json:"damage,omitempty"`
}

func listed(c *backup.Chain) listedBackup {
	l := listedBackup{ID: c.ID, State: "complete", Taken: chain.Began(c.ID), To: c.Last(), Deltas: c.Deltas, Bytes: c.Bytes}
	if c.Manifest != nil {
		l.Cluster, l.From = c.Manifest.Cluster, c.Manifest.Revision
	}
	if !c.Finished() {
		l.State = "unfinished"
	}
	if len(c.Damages) > 0 {
		l.State, l.Damage = "damaged", shortened(c.Damages[0].Error(), 200)
	}
	return l
}

// newEtcdListCommand returns "gridrouter etcd list".
func newEtcdListCommand() *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the backups of a store, the oldest first",
		Long: `list says which backups there are and which revisions can be restored from each. It reads manifests, and sees
what is missing; what is damaged within, verify finds. A state is complete, damaged, or unfinished: such a one is
being made, or was given up.`,
		Example: `  gridrouter etcd list --store /backups`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), "list", outputsOf(cmd), func(ctx context.Context, s store.Store, t *teller) error {
				chains, err := backup.List(ctx, s)
				if err != nil {
					return err
				}
				for _, c := range chains {
					t.result.Backups = append(t.result.Backups, listed(c))
				}
				t.result.text = listText(t.result.Backups)
				return nil
			})
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func listText(all []listedBackup) string {
	if len(all) == 0 {
		return "There are no backups.\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "BACKUP\tSTATE\tCLUSTER\tFROM\tTO\tDELTAS\tBYTES\tDAMAGE") // a builder takes all
	for _, l := range all {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", l.ID, l.State, l.Cluster, l.From, l.To, l.Deltas, l.Bytes, l.Damage)
	}
	_ = w.Flush()
	return b.String()
}

// newEtcdPruneCommand returns "gridrouter etcd prune".
func newEtcdPruneCommand() *cobra.Command {
	var (
		f backupFlags
		r backup.Retention
	)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove old backups",
		Long: `prune keeps the --keep newest backups and all that something was added to within --within. The others go whole,
the oldest first, deltas and all. Before that it reads those that stay until one is whole; if none is, the newest
whole one of the others stays, and if there is none at all, nothing goes. What was never finished goes after --grace.`,
		Example: `  gridrouter etcd prune --store /backups --keep 7 --within 168h --dry-run`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), "prune", outputsOf(cmd), func(ctx context.Context, s store.Store, t *teller) error {
				if r.Count < 1 || r.Age < 0 || r.Grace <= 0 {
					return flags.Usagef("--keep, --within, --grace: at least 1 is kept, and times are not negative")
				}
				p, err := backup.Prune(ctx, s, r, t.report)
				t.result.Removed, t.result.Kept, t.result.Spared = slices.Concat(p.Chains, p.Unfinished), p.Kept, p.Spared
				t.result.Bytes, t.result.DryRun = p.Bytes, r.DryRun
				t.result.text = fmt.Sprintf("removed: %s\nkept: %s\n", joined(t.result.Removed), joined(p.Kept))
				if r.DryRun {
					t.result.text = "would be " + t.result.text
				}
				return err
			})
		},
	}
	f.register(cmd.Flags())
	fs := cmd.Flags()
	fs.IntVar(&r.Count, "keep", 7, "how many of the newest backups are kept, `COUNT`")
	fs.DurationVar(&r.Age, "within", 0, "every backup is kept that something was added to within this time (default none for its age)")
	fs.DurationVar(&r.Grace, "grace", 24*time.Hour, "how long a backup may be unfinished")
	fs.BoolVar(&r.DryRun, "dry-run", false, "only say what would go")
	return cmd
}
