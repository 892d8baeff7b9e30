package main

import (
	"context"
	"errors"
	"fmt"

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
through need --allow-mass-change, here and with apply. What the backup does not have at all may be
held as a mass change: settle that first, by "gridctl guard".`,
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
				plan, err := grid.PlanRestored(ctx, change.options())
				if errors.Is(err, catalog.ErrNotFound) {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), "nothing to settle: no tenant has a lower epoch than a router has seen")
					return err
				}
				if err != nil {
					return err
				}
				return change.carryOut(ctx, cmd, grid, plan)
			})
		},
	}
	change.register(cmd)
	change.registerMass(cmd)
	return cmd
}
