//go:build !slim

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/store"
)

// newEtcdBackupCommand returns "gridrouter etcd backup".
func newEtcdBackupCommand() *cobra.Command {
	var (
		f       backupFlags
		etcd    flags.Etcd
		scratch string
	)
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Make a full backup of a cluster of etcd",
		Long: `backup copies the database of one member, a follower if there is one, to a store, checks the hash that etcd
puts at its end, and writes a manifest beside it: without one there is no backup. It needs etcd's role root where etcd
asks for users. docs/ETCD_BACKUPS.md has the form of the objects.

Access key and secret key of an s3:// store are read from files, or from ` + accessKeyVariable + ` and
` + secretKeyVariable + `.`,
		Example: `  gridrouter etcd backup --etcd https://etcd:2379 --etcd-ca ca.pem --store /backups
  gridrouter etcd backup --etcd http://127.0.0.1:2379 --store s3://backups/edge --store-endpoint https://s3:9000 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), "backup", outputsOf(cmd), func(ctx context.Context, s store.Store, t *teller) error {
				source, err := etcdSource(&etcd)
				if err != nil {
					return err
				}
				m, err := backup.Take(ctx, backup.Config{Source: source, Store: s, Scratch: scratch, Report: t.report})
				if err != nil {
					return err
				}
				t.result.Backup, t.result.Cluster, t.result.FullRevision, t.result.Revision = m.ID, m.Cluster, m.Revision, m.Revision
				t.result.Covered, t.result.Bytes, t.result.SHA256 = &m.Taken, m.Size, m.SHA256
				if m.HashKV != nil {
					t.result.HashKV = m.HashKV.Hash
				}
				t.result.text = fmt.Sprintf("%s revision %d, %d bytes\n", m.ID, m.Revision, m.Size)
				return nil
			})
		},
	}
	fs := cmd.Flags()
	etcd.RegisterClient(fs)
	f.register(fs)
	fs.StringVar(&scratch, "scratch", "", "`DIR` with room for a copy of the database (default the system's for temporary files)")
	return cmd
}

// newEtcdFollowCommand returns "gridrouter etcd follow".
func newEtcdFollowCommand() *cobra.Command {
	var (
		f    backupFlags
		etcd flags.Etcd
		c    backup.FollowConfig
		mib  int
	)
	cmd := &cobra.Command{
		Use:   "follow",
		Short: "Add all changes of a cluster of etcd to its newest backup, until a signal ends it",
		Long: `follow watches all keys and writes what changes as deltas, each of which names the one before it. What etcd
has acknowledged is in the store at most --every later. It begins with a full backup where there is none that it can
go on with: etcd was compacted meanwhile, was restored, or an object is damaged. When another full backup is made, it
goes on from that.

The result file is written anew with each delta. SIGTERM and SIGINT have it write what waits, and end.`,
		Example: `  gridrouter etcd follow --etcd http://127.0.0.1:2379 --store /backups --every 10s`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), "follow", outputsOf(cmd), func(ctx context.Context, s store.Store, t *teller) error {
				return runFollow(ctx, s, t, &etcd, c, mib)
			})
		},
	}
	fs := cmd.Flags()
	etcd.RegisterClient(fs)
	f.register(fs)
	fs.StringVar(&c.Scratch, "scratch", "", "`DIR` with room for a copy of the database (default the system's for temporary files)")
	fs.DurationVar(&c.Every, "every", time.Minute, "how long a change waits at most before it is in the store")
	fs.IntVar(&mib, "delta-size", 8, "`MIB` of changes that are written earlier, at least 1")
	fs.Int64Var(&c.HashEvery, "hash-every", 16, "after how many deltas etcd is asked for the hash of all keys, `COUNT`")
	fs.DurationVar(&c.Look, "look", 5*time.Minute, "how often a newer full backup is looked for")
	return cmd
}

func runFollow(ctx context.Context, s store.Store, t *teller, etcd *flags.Etcd, c backup.FollowConfig, mib int) error {
	const most = 256 // of which several are in memory
	switch {
	case mib < 1 || mib > most:
		return flags.Usagef("--delta-size: %d is not within 1 to %d", mib, most)
	case c.Every <= 0 || c.Look <= 0 || c.HashEvery < 1:
		return flags.Usagef("--every, --look, --hash-every: they must be above 0")
	}
	var err error
	if c.Source, err = etcdSource(etcd); err != nil {
		return err
	}
	c.Store, c.MaxBytes, c.Report = s, mib<<20, t.report
	c.Status = func(is backup.Status) {
		r := &t.result
		r.Backup, r.Revision, r.Deltas, r.Bytes, r.Begun = is.Chain, is.Revision, is.Deltas, is.Written, is.Begun
		r.OK, r.Reason, r.Error = is.Fault == nil, "", ""
		if !is.Covered.IsZero() {
			r.Covered = &is.Covered
		}
		if is.Fault != nil {
			r.Reason, r.Error = reasonOf(is.Fault), shortened(is.Fault.Error(), maxErrorBytes)
		}
		t.write()
	}
	err = backup.Follow(ctx, c)
	t.result.Reason, t.result.Error = "", ""
	t.result.text = fmt.Sprintf("%s revision %d, %d deltas\n", t.result.Backup, t.result.Revision, t.result.Deltas)
	return err
}
