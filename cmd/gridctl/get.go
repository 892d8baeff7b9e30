package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
)

// kinds are the words for each folder of documents on the command line.
var kinds = map[string]string{
	"deck": catalog.FolderDecks, "decks": catalog.FolderDecks,
	"tenant": catalog.FolderTenants, "tenants": catalog.FolderTenants,
	"pin": catalog.FolderPins, "pins": catalog.FolderPins,
	"gslb": catalog.FolderGslb,
}

func folderOf(kind string) (string, error) {
	if folder, known := kinds[kind]; known {
		return folder, nil
	}
	return "", flags.Usagef("%q is no kind of document; write decks, tenants, pins or gslb", kind)
}

// documentKey makes a document's key of a folder and the arguments that name it.
func documentKey(folder string, names []string) (string, error) {
	switch {
	case folder == catalog.FolderPins && len(names) == 2:
		if err := routing.CheckName(names[0]); err != nil {
			return "", flags.Usagef("the tenant: %w", err)
		}
		if names[1] == "" || len(names[1]) > routing.MaxKeyBytes {
			return "", flags.Usagef("a pin's key has 1 to %d bytes", routing.MaxKeyBytes)
		}
		return catalog.PinKey(names[0], names[1]), nil
	case folder == catalog.FolderPins:
		return "", flags.Usagef("a pin is named by two words: pin TENANT KEY")
	case len(names) != 1:
		return "", flags.Usagef("a document of %s is named by one word", folder)
	case folder == catalog.FolderGslb:
		if err := routing.CheckHost(names[0], false); err != nil {
			return "", flags.Usagef("the name: %w", err)
		}
	default:
		if err := routing.CheckName(names[0]); err != nil {
			return "", flags.Usagef("the name: %w", err)
		}
	}
	return folder + "/" + names[0], nil
}

// newGetCommand returns "gridctl get".
func newGetCommand(to *connection) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "get decks|tenants|gslb [NAME] | get pins TENANT [KEY]",
		Short: "Print documents as they stand in etcd",
		Long: `Prints the documents in etcd: all of a kind, or one.

-o yaml and -o json print what "gridctl apply" reads; json is one document a line. In yaml the
field revision says which stored form it is: apply refuses what was made from another one, so that it
is for editing. For a backup there is "gridctl export".`,
		Example: `  gridctl get decks
  gridctl get tenants acme -o yaml
  gridctl get pins initech
  gridctl get pins initech 10086 -o json`,
		Args: cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "yaml", "json"); err != nil {
				return err
			}
			folder, err := folderOf(args[0])
			if err != nil {
				return err
			}
			selection, one, err := selected(folder, args[1:])
			if err != nil {
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				found, err := show(ctx, grid, selection, one, newPrinter(cmd.OutOrStdout(), folder, output))
				if err == nil && found == 0 {
					printTo(cmd.ErrOrStderr(), "etcd holds no %s there\n", folder)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, yaml or json")
	return cmd
}

// selected returns the key of the one document that is asked for, or the folder of many.
func selected(folder string, names []string) (selection string, one bool, err error) {
	many := folder != catalog.FolderPins && len(names) == 0
	switch {
	case many:
		return folder + "/", false, nil
	case folder == catalog.FolderPins && len(names) == 0:
		return "", false, flags.Usagef("whose pins? write get pins TENANT [KEY]")
	case folder == catalog.FolderPins && len(names) == 1:
		if err = routing.CheckName(names[0]); err != nil {
			return "", false, flags.Usagef("the tenant: %w", err)
		}
		return folder + "/" + names[0] + "/", false, nil
	}
	selection, err = documentKey(folder, names)
	return selection, true, err
}

// printer writes documents in one of the forms.
type printer interface {
	// page writes some documents; it may be called many times.
	page(items []catalog.Item) error
	// end writes what is left. Bad documents are an error by then.
	end() error
}

func newPrinter(out io.Writer, folder, output string) printer {
	switch output {
	case "yaml":
		return &textPrinter{out: out, before: "---\n", form: func(item *catalog.Item) ([]byte, error) {
			return toYAML(withRevision(item.Value, item.Revision))
		}}
	case "json":
		return &textPrinter{out: out, form: func(item *catalog.Item) ([]byte, error) { return toJSONLine(item.Value) }}
	}
	return newTablePrinter(out, folder)
}

// showOne prints one document.
func showOne(ctx context.Context, grid *catalog.Catalog, key string, to printer) error {
	item, err := grid.Get(ctx, key)
	if err != nil {
		return err
	}
	if err := to.page([]catalog.Item{item}); err != nil {
		return err
	}
	return to.end()
}

// show prints what is selected, and returns how many documents that is.
func show(ctx context.Context, grid *catalog.Catalog, selection string, one bool, to printer) (found int, err error) {
	if one {
		return 1, showOne(ctx, grid, selection, to)
	}
	_, err = grid.List(ctx, selection, func(items []catalog.Item) error {
		if len(items) == 0 {
			return nil
		}
		found += len(items)
		return to.page(items)
	})
	if err != nil {
		return found, err
	}
	return found, to.end()
}
