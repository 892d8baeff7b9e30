//go:build !slim

package main

import (
	"errors"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/etcd/member"
	"gridrouter.io/deploy/etcd/member/starter"
)

// newEtcdInstallCommand returns "gridrouter etcd install".
func newEtcdInstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install DIR",
		Short: "Copy this program into a folder that a container of etcd shares",
		Long: `install copies the program that runs to DIR/gridrouter. It is for an init container: etcd's own image has no
shell and no other program, and "gridrouter etcd run" starts etcd in it.`,
		Example: `  gridrouter etcd install /tools`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return starter.Install(args[0]) },
	}
}

// newEtcdRunCommand returns "gridrouter etcd run".
func newEtcdRunCommand() *cobra.Command {
	var o starter.Options
	var cluster string
	cmd := &cobra.Command{
		Use:   "run --data-dir DIR [flags] -- PROGRAM [ARGUMENT ...]",
		Short: "Look at the data of a member of etcd, and become etcd if it may start from them",
		Long: `run looks whether DIR has the data of the member that the pod is, and then becomes etcd: PROGRAM with the
arguments and --data-dir. A member that has joined, as an annotation of its pod says, and has lost its data must not
join again: it would have forgotten votes and entries that it has acknowledged.

Exit status where etcd was not started: 41 the data of a member that has joined are gone, 42 they are another's,
43 they are damaged, 44 the folder cannot be read or written. The reason is in the termination log too.`,
		Example: `  gridrouter etcd run --data-dir /var/lib/etcd/data --pod-info /info/annotations -- /usr/local/bin/etcd --name a`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) (err error) {
			if cluster != "" {
				if o.Cluster, err = member.ParseID(cluster); err != nil {
					return flags.Usagef("--cluster-id: %w", err)
				}
			}
			o.Command = args
			if err = starter.Run(&o); errors.Is(err, starter.ErrUsage) {
				err = flags.Usagef("%w", err)
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what comes behind the program is etcd's
	fs.StringVar(&o.DataDir, "data-dir", "", "etcd's `DIR` of data, a folder within its volume")
	fs.StringVar(&o.PodInfo, "pod-info", "", "`FILE` with the pod's annotations, of a downward API volume (default none: the member has not joined)")
	fs.StringVar(&cluster, "cluster-id", "", "`ID` in hex of the only cluster whose data etcd may start from (default any)")
	fs.StringVar(&o.ForceNewCluster, "force-new-cluster", "", "`TOKEN` by which etcd makes a cluster of one member out of its data, once for each token (default never)")
	fs.StringVar(&o.TerminationLog, "termination-log", starter.TerminationLog, "`FILE` that tells Kubernetes why etcd was not started, if it is there")
	return cmd
}
