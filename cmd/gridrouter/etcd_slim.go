//go:build slim

package main

import (
	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
)

// newEtcdCommand returns "gridrouter etcd" of a binary without it: see docs/adr/0020-one-binary.md.
func newEtcdCommand() *cobra.Command {
	return &cobra.Command{
		Use: "etcd", Short: "Not in this binary, which was built for routers alone (slim)",
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return flags.Usagef("this binary was built for routers alone; run etcd's parts from the image without -slim in its tag")
		},
	}
}
