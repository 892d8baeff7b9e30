package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gridrouter.io/bench/table"
	"gridrouter.io/cmd/flags"
)

// tableFlags are the flags of "gridbench table".
type tableFlags struct {
	config table.Config
	short  bool
	quiet  bool
	output string
}

// newTableCommand returns "gridbench table".
func newTableCommand() *cobra.Command {
	f := &tableFlags{}
	cmd := &cobra.Command{
		Use:   "table",
		Short: "Measure the table: memory, lookups, updates, starts, pins, propagation",
		Long: `Measures what is promised of the table that routers decide by: bytes a tenant, lookups, updates,
the start from a snapshot and from etcd, pins, and how soon a change in etcd is in effect. etcd runs
as a process of its own, on loopback.

At its full size it takes some minutes, about 10 GB of memory, and 4 GB in the temporary folder.
Run nothing else meanwhile. Only what does not depend on the machine can fail it: bytes a tenant,
and wrong answers.`,
		Example: `  gridbench table
  gridbench table --short -o json
  gridbench table --only memory,update --tenants 20000 --profiles profiles`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&f.config.Tenants, "tenants", 0, "`N` tenants, at least 1000 (default 1000000, with --short 100000)")
	fs.IntVar(&f.config.Pins, "pins", 0, "`N` resident pins, at least 1000 (default 10000000, with --short 1000000)")
	fs.IntVar(&f.config.Policies, "policies", table.MostPolicies, "`N` different policies that the tenants share, 1 to 1000")
	fs.IntVar(&f.config.Lookups, "lookups", 0, "time `N` single lookups (default 1000000, with --short 200000)")
	fs.IntVar(&f.config.Seconds, "seconds", 0, "write changes for `N` seconds, 1000 in each (default 10, with --short 3)")
	fs.BoolVar(&f.short, "short", false, "measure less, in well under a minute")
	fs.StringSliceVar(&f.config.Only, "only", nil, "run only these `PARTS`, separated by commas: "+strings.Join(table.Parts(), ", ")+" (default all)")
	fs.StringVar(&f.config.Profiles, "profiles", "", "write a CPU profile of each timed section into the folder `DIR` (default none)")
	fs.StringVar(&f.config.Dir, "dir", os.TempDir(), "existing `DIR` for the snapshot and etcd's data")
	fs.StringVarP(&f.output, "output", "o", "table", "table or json")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "do not tell on stderr what is being done")
	return cmd
}

func (f *tableFlags) run(ctx context.Context, out, progress io.Writer) error {
	if err := f.complete(); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	f.config.Commit = flags.BuildVersion(version)
	f.config.Etcd = func(dir, client, peer string) *exec.Cmd {
		cmd := exec.Command(program, "part", "etcd", "--dir", dir, "--client", client, "--peer", peer) //nolint:noctx // it is asked to end first
		cmd.Stderr = os.Stderr
		return cmd
	}
	if !f.quiet {
		f.config.Progress = progress
	}
	report, err := table.Run(ctx, f.config)
	write := report.WriteTable
	if f.output == "json" {
		write = report.WriteJSON
	}
	if err := errors.Join(err, write(out)); err != nil {
		return err
	}
	if missed := report.Missed(); len(missed) > 0 {
		return fmt.Errorf("missed, on any machine: %s", strings.Join(missed, "; "))
	}
	return nil
}

// complete fills in the defaults, and refuses what cannot be measured.
func (f *tableFlags) complete() error {
	full := table.Config{Tenants: 1_000_000, Pins: 10_000_000, Lookups: 1_000_000, Seconds: 10}
	if f.short {
		full = table.Config{Tenants: 100_000, Pins: 1_000_000, Lookups: 200_000, Seconds: 3}
	}
	for _, number := range []struct {
		flag  string
		value *int
		full  int
		least int
	}{
		{"tenants", &f.config.Tenants, full.Tenants, table.LeastTenants},
		{"pins", &f.config.Pins, full.Pins, table.LeastPins},
		{"lookups", &f.config.Lookups, full.Lookups, 1},
		{"seconds", &f.config.Seconds, full.Seconds, 1},
	} {
		if *number.value == 0 {
			*number.value = number.full
		}
		if *number.value < number.least {
			return flags.Usagef("--%s: %d is too few; write at least %d", number.flag, *number.value, number.least)
		}
	}
	if f.config.Policies < 1 || f.config.Policies > table.MostPolicies {
		return flags.Usagef("--policies: %d is not between 1 and %d", f.config.Policies, table.MostPolicies)
	}
	for _, name := range f.config.Only {
		if !slices.Contains(table.Parts(), name) {
			return flags.Usagef("--only: there is no part %q; write some of %s", name, strings.Join(table.Parts(), ", "))
		}
	}
	if f.output != "table" && f.output != "json" {
		return flags.Usagef("--output: %q is neither table nor json", f.output)
	}
	return nil
}
