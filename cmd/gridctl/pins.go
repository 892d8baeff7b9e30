package main

import (
	"bytes"
	"context"

	"github.com/spf13/cobra"

	"gridrouter.io/discovery/catalog"
)

// newPinsCommand returns "gridctl pins".
func newPinsCommand(to *connection) *cobra.Command {
	cmd := &cobra.Command{Use: "pins", Short: "Work on many pins at once"}
	cmd.AddCommand(newPinsImportCommand(to))
	return cmd
}

func newPinsImportCommand(to *connection) *cobra.Command {
	var change changeFlags
	cmd := &cobra.Command{
		Use:   "import TENANT FILE.csv",
		Short: "Write the pins of a CSV file",
		Long: `Writes pins of one tenant from a CSV file (RFC 4180) of rows KEY,DECK; a first row "key,deck"
is a header, and - is the standard input. Every row is checked before anything is written. Pins
that stand as they are stay untouched, and so do those that the file does not name. The
tenant's epoch is raised by one, with the first pin that changes.`,
		Example: `  gridctl pins import initech pins.csv --why "move the north to east-2"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := change.check(); err != nil {
				return err
			}
			text, err := readInput(cmd, args[1])
			if err != nil {
				return inputError("", err)
			}
			docs, err := catalog.ReadPins(args[0], args[1], bytes.NewReader(text))
			if err != nil {
				return commandError(cmd, err)
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				plan, err := grid.Plan(ctx, docs, catalog.Options{Why: change.why})
				if err != nil {
					return err
				}
				return change.carryOut(ctx, cmd, grid, plan)
			})
		},
	}
	change.register(cmd)
	return cmd
}
