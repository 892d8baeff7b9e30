//go:build !slim

package main

import "github.com/spf13/cobra"

// newEtcdCommand returns "gridrouter etcd".
func newEtcdCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "etcd",
		Short: "What clusters of etcd in Kubernetes need beside etcd itself",
	}
	cmd.AddCommand(
		newEtcdInstallCommand(),
		newEtcdRunCommand(),
		newEtcdBackupCommand(),
		newEtcdFollowCommand(),
		newEtcdListCommand(),
		newEtcdVerifyCommand(),
		newEtcdRestoreCommand(),
		newEtcdPruneCommand(),
	)
	return cmd
}
