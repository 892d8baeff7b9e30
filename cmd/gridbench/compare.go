package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/bench/compare"
	"gridrouter.io/cmd/flags"
)

// compareFlags are the flags of "gridbench compare".
type compareFlags struct {
	config       compare.Config
	short, quiet bool
	output, html string
}

// newCompareCommand returns "gridbench compare".
func newCompareCommand() *cobra.Command {
	f := &compareFlags{}
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Measure the router beside HAProxy, nginx, Caddy and Traefik",
		Long: `Starts decks, an etcd full of tenants, the router, and each of the peers that is installed, gives them the
same hosts and the same load in turns, checks every answer, and prints CPU, memory, system calls and
latency as ratios with their spread, beside the goals.

At its full size it takes a quarter of an hour, some 8 GB of memory and 3 GB in the temporary folder. Run
nothing else meanwhile. Only what does not depend on the machine can fail it: allocations, system
calls, memory of idle connections, and wrong answers.`,
		Example: `  gridbench compare --html compare.html
  gridbench compare --short -o json
  gridbench compare --only small,tls --peers haproxy --rounds 9`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fs, c := cmd.Flags(), &f.config
	fs.IntVar(&c.Hosts, "hosts", 0, "`N` hosts, at least 100 (default 1000000, with --short 10000)")
	fs.IntVar(&c.Rounds, "rounds", 0, "measure each arm `N` times (default 5, with --short 2)")
	fs.DurationVar(&c.Slice, "slice", 0, "how long an arm is measured at a time (default 2s, with --short 500ms)")
	fs.IntVar(&c.Idle, "idle", 0, "`N` idle connections (default 10000, with --short 1000)")
	fs.IntVar(&c.Updates, "updates", 0, "change `N` documents under load (default 100000, with --short 10000)")
	fs.BoolVar(&f.short, "short", false, "measure less, in two minutes")
	fs.StringSliceVar(&c.Only, "only", nil, "run only these `PARTS`, separated by commas: "+strings.Join(compare.Parts(), ", ")+" (default all)")
	fs.StringSliceVar(&c.Peers, "peers", nil, "compare only with these `PEERS`: "+strings.Join(compare.Peers(), ", ")+" (default all that are installed)")
	fs.StringVar(&c.Router, "router", "", "`FILE` of the router's binary (default gridrouter beside gridbench)")
	fs.StringVar(&c.Traefik, "traefik", "", "`FILE` of Traefik's binary (default traefik beside gridbench, else on the PATH)")
	fs.StringVar(&c.Profile, "profile", "", "write a CPU profile of the router under this load to `FILE` (default none)")
	fs.StringVar(&c.Dir, "dir", os.TempDir(), "existing `DIR` for configurations and data")
	fs.StringVarP(&f.output, "output", "o", "table", "table or json")
	fs.StringVar(&f.html, "html", "", "write a page with plots to `FILE` as well (default none)")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "do not tell on stderr what is being done")
	return cmd
}

func (f *compareFlags) run(ctx context.Context, out, progress io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := f.complete(program); err != nil {
		return err
	}
	if err := f.config.Check(); err != nil {
		return flags.Usagef("%v", err)
	}
	if _, err := os.Stat(f.config.Router); err != nil {
		return flags.Usagef("--router: %v; build it with make build", err)
	}
	if f.output != "table" && f.output != "json" {
		return flags.Usagef("--output: %q is neither table nor json", f.output)
	}
	if !f.quiet {
		f.config.Progress = progress
	}
	report, err := compare.Run(ctx, f.config)
	if err != nil && len(report.Rows) == 0 {
		return err
	}
	if f.output == "json" {
		err = errors.Join(err, report.WriteJSON(out))
	} else {
		err = errors.Join(err, report.WriteTable(out))
	}
	if f.html != "" {
		err = errors.Join(err, writePage(f.html, report.Page()))
	}
	if err != nil {
		return err
	}
	if missed := report.Missed(); len(missed) > 0 {
		return fmt.Errorf("broken whatever the machine: %s", strings.Join(missed, "; "))
	}
	return nil
}

// complete fills in what was not given.
func (f *compareFlags) complete(program string) error {
	c := &f.config
	full := compare.Config{Hosts: 1_000_000, Rounds: 5, Slice: 2 * time.Second, Idle: 10_000, Updates: 100_000}
	if f.short {
		full = compare.Config{Hosts: 10_000, Rounds: 2, Slice: 500 * time.Millisecond, Idle: 1000, Updates: 10_000}
	}
	for number, value := range map[*int]int{&c.Hosts: full.Hosts, &c.Rounds: full.Rounds, &c.Idle: full.Idle, &c.Updates: full.Updates} {
		if *number == 0 {
			*number = value
		}
	}
	if c.Slice == 0 {
		c.Slice = full.Slice
	}
	beside := func(name string) string {
		path := filepath.Join(filepath.Dir(program), name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		return ""
	}
	if c.Router == "" {
		if c.Router = beside("gridrouter"); c.Router == "" {
			c.Router = "gridrouter"
		}
	}
	if c.Traefik == "" {
		c.Traefik = beside("traefik")
	}
	c.Commit = flags.BuildVersion(version)
	c.Part = func(args ...string) []string { return append([]string{program, "part"}, args...) }
	for _, path := range []*string{&c.Router, &c.Traefik, &c.Dir} { // processes are started in another folder
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	return nil
}
