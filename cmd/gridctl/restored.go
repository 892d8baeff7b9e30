package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gridrouter.io/discovery/catalog"
)

// newRestoredCommand returns "gridctl restored".
func newRestoredCommand(to *connection) *cobra.Command {
	var change changeFlags
	cmd := &cobra.Command{
		Use:   "restored",
		Short: "Settle a restore of etcd from a backup",
		Long: `When etcd was restored from a backup, tenants that were changed since have lower epochs than
routers have seen. These routers keep what they have in force, and tell those that start
since, which answer tenant_invalid for such tenants rather than from the wrong deck.

restored shows these tenants, and writes each as it is stored now, with an epoch above all that
was seen, so that every router has the restored form in force. To keep the newer form of one,
apply that first: "gridctl explain --router" and "gridctl diff" show what a router has and what is
stored. Each of these tenants counts as changed, whatever is stored: more of them than the guard lets
through need --allow-mass-change, here and with apply.

The loss of tenants, decks and names that the backup does not have at all, and another form of a
deck, is held by the guard of each router and GSLB server that knows better: apply them again ("gridctl export --router" prints what
a router has), or give them up by "gridctl guard accept". Settle that first.`,
		Example: `  gridctl restored --dry-run
  gridctl restored --why "etcd is back from the backup of noon"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := change.check(); err != nil {
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				rewound, err := grid.Rewound(ctx)
				if err != nil {
					return err
				}
				if change.output == "text" {
					for _, tenant := range rewound {
						printTo(cmd.OutOrStdout(), "tenant %s has epoch %d; routers have seen %d\n", tenant.Tenant, tenant.Stored, tenant.Seen)
					}
				}
				plan, left, err := grid.PlanRestored(ctx, change.options())
				if errors.Is(err, catalog.ErrNotFound) {
					return nothingSetBack(ctx, cmd.OutOrStdout(), grid)
				}
				if err != nil {
					return err
				}
				if err := change.carryOut(ctx, cmd, grid, plan); err != nil || len(left) == 0 {
					return err
				}
				return fmt.Errorf("all is settled but %s:\n%w", count(len(left), "tenant"), errors.Join(left...))
			})
		},
	}
	change.register(cmd)
	change.registerMass(cmd)
	return cmd
}

// nothingSetBack says that no tenant was, and what guards hold, which may be what the backup lacks.
func nothingSetBack(ctx context.Context, out io.Writer, grid *catalog.Catalog) error {
	state, err := grid.GuardState(ctx)
	if err != nil {
		return err
	}
	text := "nothing to settle: no tenant has a lower epoch than a router has seen"
	if len(state.Holding) > 0 {
		text = "no tenant has a lower epoch than a router has seen; " + holdingOf(state) + " hold changes, perhaps of what the backup lacks: gridctl guard"
	}
	_, err = fmt.Fprintln(out, text)
	return err
}
