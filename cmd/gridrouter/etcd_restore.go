//go:build !slim

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/restore"
	"gridrouter.io/deploy/etcd/backup/store"
)

// restored puts what came out into the result.
func (t *teller) restored(r restore.Result) {
	t.result.Backup, t.result.FullRevision, t.result.Revision, t.result.NewRevision = r.ID, r.Full, r.Revision, r.NewRevision
	t.result.Deltas, t.result.Events, t.result.Keys, t.result.Compared = r.Deltas, r.Events, r.Keys, r.Compared
	t.result.Incomparable = r.Incomparable
}

// backupID reads the one argument that commands about a backup take.
func backupID(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	if err := chain.CheckID(args[0]); err != nil {
		return "", flags.Usagef("%w", err)
	}
	return args[0], nil
}

// newEtcdVerifyCommand returns "gridrouter etcd verify".
func newEtcdVerifyCommand() *cobra.Command {
	var (
		f       backupFlags
		scratch string
	)
	cmd := &cobra.Command{
		Use:   "verify [BACKUP]",
		Short: "Read every object of a backup, restore it, and start an etcd on it",
		Long: `verify says all that is wrong with a backup, the newest unless one is named. It reads every object, restores all
of it in a scratch folder, compares the hashes over all keys that the cluster said of itself, starts an etcd on the
result that nobody reaches, and removes it. It takes twice the size of the database in the scratch folder.

The exit status is 0 if all is well, else 1.`,
		Example: `  gridrouter etcd verify --store /backups
  gridrouter etcd verify 20261128T020000.000Z-0a1b2c --store /backups -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), "verify", outputsOf(cmd), func(ctx context.Context, s store.Store, t *teller) error {
				id, err := backupID(args)
				if err != nil {
					return err
				}
				r, damages, err := restore.Verify(ctx, restore.Options{Store: s, ID: id, Report: t.report}, scratch)
				if t.restored(r); err != nil {
					return err
				}
				t.result.Damages, t.result.DamageCount = damages[:min(len(damages), maxDamages)], len(damages)
				if len(damages) > 0 {
					t.report("damaged:\n" + damagesText(damages))
					return damaged(damages)
				}
				t.result.text = fmt.Sprintf("%s is whole: revisions %d to %d, %d keys, %d hashes compared\n", r.ID, r.Full, r.Revision, r.Keys, r.Compared)
				return nil
			})
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&scratch, "scratch", "", "`DIR` with room for two copies of the database (default the system's for temporary files)")
	return cmd
}

// newEtcdRestoreCommand returns "gridrouter etcd restore".
func newEtcdRestoreCommand() *cobra.Command {
	var (
		f backupFlags
		o restore.Options
	)
	cmd := &cobra.Command{
		Use:   "restore [BACKUP]",
		Short: "Make a data directory of a member of etcd from a backup",
		Long: `restore makes a data directory from the backup that ends last, from the one that is named, or from one that has
--revision. All members of a new cluster are restored from the same backup, with the same --revision,
--initial-cluster and --initial-cluster-token.

Revisions go on above all that is known of the old cluster, and all before is compacted: watchers and caches of the
old cluster are told, and no revision comes twice. Nothing that etcd would start from is in the directory until all
of it is. It takes twice the size of the database.`,
		Example: `  gridrouter etcd restore --store /backups --data-dir /var/lib/etcd/data --name a --initial-cluster a=http://a:2380
  gridrouter etcd restore --store /backups --revision 4711 --data-dir data --name a --initial-cluster a=http://a:2380`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), "restore", outputsOf(cmd), func(ctx context.Context, s store.Store, t *teller) (err error) {
				if o.ID, err = backupID(args); err != nil {
					return err
				}
				o.Store, o.Report = s, t.report
				if err := o.Check(); err != nil {
					return flags.Usagef("%w", err)
				}
				r, err := restore.Restore(ctx, o)
				if err != nil {
					return err
				}
				t.restored(r)
				t.result.text = fmt.Sprintf("%s: revision %d, %d keys, is restored as revision %d\n", r.ID, r.Revision, r.Keys, r.NewRevision)
				return nil
			})
		},
	}
	f.register(cmd.Flags())
	fs := cmd.Flags()
	fs.StringVar(&o.Dir, "data-dir", "", "etcd's `DIR` of data, empty or not there")
	fs.Int64Var(&o.Revision, "revision", 0, "the `REVISION` to restore (default the last one)")
	fs.StringVar(&o.Name, "name", "default", "`NAME` of the member")
	fs.StringVar(&o.InitialCluster, "initial-cluster", "", "all `MEMBERS` of the new cluster: NAME=URL, a comma, and the next")
	fs.StringVar(&o.Token, "initial-cluster-token", "etcd-cluster", "`TOKEN` of the new cluster, unlike that of any other")
	fs.StringSliceVar(&o.PeerURLs, "initial-advertise-peer-urls", nil, "the member's own peer `URLS` (default those of --initial-cluster)")
	fs.Int64Var(&o.Bump, "bump-revision", restore.DefaultBump, "by how much revisions are above all that is known, `COUNT`")
	fs.Int64Var(&o.Seen, "seen-revision", 0, "the highest `REVISION` that anybody saw of the old cluster (default what the backup knows)")
	return cmd
}
