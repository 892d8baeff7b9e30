//go:build slim

package main

import (
	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
)

// newFleetsCommand returns "gridctl fleets" of a binary without it: see docs/adr/0020-one-binary.md.
func newFleetsCommand(*connection) *cobra.Command {
	return &cobra.Command{
		Use: "fleets", Short: "Not in this binary, which was built without Kubernetes (slim)",
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return flags.Usagef("this gridctl was built without Kubernetes: make build puts the whole one into bin/")
		},
	}
}
