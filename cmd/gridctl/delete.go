package main

import (
	"context"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
)

// newDeleteCommand returns "gridctl delete".
func newDeleteCommand(to *connection) *cobra.Command {
	var (
		change   changeFlags
		force    bool
		withPins bool
	)
	cmd := &cobra.Command{
		Use:   "delete deck|tenant|gslb NAME | delete pin TENANT KEY",
		Short: "Delete one document",
		Long: `Deletes one document from etcd.

A deck is refused while tenants, pins or standbys refer to it; --force deletes it anyway, and
their requests get deck_down. A tenant gives up its hosts with it; one that has pins is
refused, unless --with-pins deletes them too. Its change records stay, and so does its epoch:
should it come back, it goes on above the last one.

One tenant is no mass change; but routers count the changes of ten seconds together, and hold
the eleventh deletion or so ("gridctl guard"), as GSLB servers do with names. So the eleventh is
refused here. --allow-mass-change tells them with each one that it is meant.`,
		Example: `  gridctl delete tenant globex --why "left us"
  gridctl delete pin initech 10086
  gridctl delete deck orders-east-9 --dry-run
  for name in $(cat left-us.txt); do gridctl delete tenant $name --allow-mass-change; done`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := change.check(); err != nil {
				return err
			}
			folder, err := folderOf(args[0])
			if err != nil {
				return err
			}
			key, err := documentKey(folder, args[1:])
			switch {
			case err != nil:
				return err
			case force && folder != catalog.FolderDecks:
				return flags.Usagef("--force is for decks; leave it out")
			case withPins && folder != catalog.FolderTenants:
				return flags.Usagef("--with-pins is for tenants; leave it out")
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				plan, err := grid.PlanDelete(ctx, key, catalog.DeleteOptions{
					Options: change.options(), Force: force, WithPins: withPins,
				})
				if err != nil {
					return err
				}
				return change.carryOut(ctx, cmd, grid, plan)
			})
		},
	}
	change.register(cmd)
	change.registerMass(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "delete a deck although documents refer to it")
	cmd.Flags().BoolVar(&withPins, "with-pins", false, "delete a tenant's pins along with it")
	return cmd
}
