package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"gridrouter.io/discovery/catalog"
)

// newApplyCommand returns "gridctl apply".
func newApplyCommand(to *connection) *cobra.Command {
	var (
		files  []string
		change changeFlags
	)
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Check documents and write them to etcd",
		Long: `Checks documents against each other and against etcd, then writes those that differ.

What is referred to is written before what refers to it, in transactions that fail if
somebody else changed what they rely upon. Each transaction is done as a whole or not at all;
the whole is not one transaction: at the first conflict apply stops, says what was written
and what was not, and exits with 1. Running it again finishes; applying the same file twice
changes nothing. Documents that are not given stay as they are.

A document that "gridctl get" printed says by its field revision which stored form it was made
from. If another one is stored by now, apply says who changed it, exits with 1 and writes
nothing, unless --force is given. Without that field, apply notes whose change of the last ten
minutes it goes over.

A tenant's epoch is raised by one, once a call, whenever one of its keys may change its deck.

--restore is for what "gridctl export" printed: nothing of it counts as new to a deck that is
draining, a tenant that etcd does not hold keeps its epoch, and is written after its pins.

What changes the rules or pins of more than 10 tenants, and more than 5 % of them, within ten
seconds, those of earlier calls counted, is refused: the guard of the routers would hold it
("gridctl guard"). If it is meant, --allow-mass-change writes it with a mark that tells them so.`,
		Example: `  gridctl apply -f tenants/acme.yaml --why "move canary to east-2"
  gridctl apply -f grid/ --dry-run
  gridctl apply -f grid/ --allow-mass-change --why "leave east-1"
  gridctl apply -f documents.json --restore --why "etcd was lost"
  gridctl get tenants acme -o yaml | sed 's/split: 60/split: 50/' | gridctl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := change.check(); err != nil {
				return err
			}
			docs, err := readDocuments(cmd, catalog.NewReader(), files)
			if err != nil {
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				plan, err := grid.Plan(ctx, docs, change.options())
				if err != nil {
					return err
				}
				return change.carryOut(ctx, cmd, grid, plan)
			})
		},
	}
	cmd.Flags().StringSliceVarP(&files, "filename", "f", nil, "`FILE` or folder of documents (.yaml, .yml, .json), or - for the standard input; repeatable")
	change.register(cmd)
	change.registerMass(cmd)
	cmd.Flags().BoolVar(&change.force, "force", false, "undo what others changed since the documents were read")
	cmd.Flags().BoolVar(&change.restore, "restore", false, "the documents stood in etcd before, as those of gridctl export")
	return cmd
}

// changeFlags are the flags of every command that writes.
type changeFlags struct {
	why     string
	dryRun  bool
	output  string
	mass    bool // meant although the routers' guard would hold it
	restore bool // what stood in etcd before
	force   bool // over what others changed meanwhile
}

func (c *changeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.why, "why", "", "`TEXT` that says why, for the change record (default none)")
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "check everything and print the plan; write nothing")
	cmd.Flags().StringVarP(&c.output, "output", "o", "text", "text or json")
}

// registerMass adds the flag of those commands that may drop tenants or change where they lead.
func (c *changeFlags) registerMass(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.mass, "allow-mass-change", false, "write what the guard of the routers would hold, and tell them that it is meant")
}

// options are what the flags say to the catalog.
func (c *changeFlags) options() catalog.Options {
	return catalog.Options{Why: c.why, AllowMassChange: c.mass, Force: c.force, Restore: c.restore}
}

func (c *changeFlags) check() error { return oneOf(c.output, "text", "json") }

// carryOut prints a plan and, unless it is a dry run, applies it and prints how far it came.
func (c *changeFlags) carryOut(ctx context.Context, cmd *cobra.Command, grid *catalog.Catalog, plan *catalog.Plan) error {
	out := cmd.OutOrStdout()
	if c.dryRun {
		if c.output == "json" {
			return writeJSON(out, outcome{Plan: plan, DryRun: true})
		}
		return writePlan(out, plan, true)
	}
	if c.output == "text" {
		if err := writePlan(out, plan, false); err != nil {
			return err
		}
	}
	progress := newProgress(cmd.ErrOrStderr())
	result, err := grid.Apply(ctx, plan, progress.tell)
	progress.end()
	switch {
	case c.output == "json":
		report := outcome{Plan: plan, Result: &result}
		if err != nil {
			report.Error = err.Error()
		}
		return errors.Join(writeJSON(out, report), err)
	case err != nil && plan.Pending() > 0:
		return errors.Join(writeBroken(out, result), err)
	}
	return errors.Join(writeResult(out, plan, result), err)
}

// outcome is what "-o json" prints of a change.
type outcome struct {
	DryRun bool            `json:"dryRun,omitempty"`
	Plan   *catalog.Plan   `json:"plan"`
	Result *catalog.Result `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}
