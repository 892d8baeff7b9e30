package main

import (
	"context"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
)

// newRollbackCommand returns "gridctl rollback".
func newRollbackCommand(to *connection) *cobra.Command {
	var (
		change changeFlags
		number int64
	)
	cmd := &cobra.Command{
		Use:   "rollback deck|tenant|gslb NAME --to N | rollback pin TENANT KEY --to N",
		Short: "Give a document the form back that it had after an earlier change",
		Long: `Writes the form that one document had after change N of its history ("gridctl history" lists
the changes) once more, as a new change. Nothing is rewound: the form is checked as apply
checks it, against the decks, hosts and tenants of today, and a tenant whose rules differ gets
a new epoch above the present one. Other documents stay as they are, pins of a tenant too.

A deleted document comes back. The form before the oldest change that is kept counts as well:
it has that change's number less one. Where the document did not exist after change N, rollback
refuses, and "gridctl delete" does it.`,
		Example: `  gridctl history tenant acme
  gridctl rollback tenant acme --to 3 --dry-run
  gridctl rollback tenant acme --to 3 --why "canary fails at checkout"
  gridctl rollback pin initech 10086 --to 1`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := change.check(); err != nil {
				return err
			}
			key, err := oneDocument(args)
			switch {
			case err != nil:
				return err
			case !cmd.Flags().Changed("to"):
				return flags.Usagef("--to is missing; name a change that gridctl history lists")
			case number < 0:
				return flags.Usagef("--to: %d is no number of a change; gridctl history lists them", number)
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				plan, err := grid.PlanRollback(ctx, key, number, change.options())
				if err != nil {
					return err
				}
				return change.carryOut(ctx, cmd, grid, plan)
			})
		},
	}
	cmd.Flags().Int64Var(&number, "to", 0, "the change `N` after which the document had the wanted form (must be given)")
	change.register(cmd)
	change.registerMass(cmd)
	cmd.Flags().Lookup("why").Usage = "`TEXT` that says why, for the change record (default \"rollback to change N\")"
	return cmd
}
