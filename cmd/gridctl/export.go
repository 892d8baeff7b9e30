package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// newExportCommand returns "gridctl export".
func newExportCommand(to *connection) *cobra.Command {
	var at adminAddress
	var snapshot string
	cmd := &cobra.Command{
		Use:   "export --router ADDRESS | --snapshot FILE",
		Short: "Print the documents that a router has in force",
		Long: `Prints the documents that a router has in force, or had by its snapshot, as "gridctl apply -f"
reads them: a JSON object a line. It asks no etcd: every router holds the documents, also when etcd
has lost them.

Decks, tenants (with the epochs that are in force) and pins are printed. What a router does not
hold is not: Gslb documents, pins with "pins: cached", and tenants that never were good. Keep the
snapshot of a router ($STATE_DIRECTORY/gridrouter/NAME.snap) before you start it anew on an
empty etcd.`,
		Example: `  gridctl export --router 127.0.0.1:9901 > documents.json
  gridctl export --snapshot /var/lib/gridrouter/r1.snap | gridctl apply -f - --why "etcd was lost"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case (at.router == "") == (snapshot == ""):
				return flags.Usagef("say whose documents: --router ADDRESS, or --snapshot FILE")
			case snapshot != "":
				return exportSnapshot(cmd.OutOrStdout(), snapshot)
			}
			response, err := at.ask(cmd.Context(), http.MethodGet, "export", to.timeout)
			if err != nil {
				return err
			}
			defer func() { _ = response.Body.Close() }() // only read
			if _, err := io.Copy(cmd.OutOrStdout(), response.Body); err != nil {
				return fmt.Errorf("the router at %s broke off its answer: %w", at.router, err)
			}
			return nil
		},
	}
	at.register(cmd.Flags(), "to ask")
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "`FILE` that a router keeps (serve --snapshot) (default none)")
	return cmd
}

// exportSnapshot prints the documents of a snapshot.
func exportSnapshot(out io.Writer, path string) error {
	header, framed, err := discovery.ReadSnapshot(path)
	if err != nil {
		return flags.Usagef("--snapshot: %w", err)
	}
	if header.Format != routing.SnapshotFormat {
		return flags.Usagef("--snapshot: %s has format %d, and this gridctl reads %d; use the one of the router's version", path, header.Format, routing.SnapshotFormat)
	}
	sections := make([]routing.Section, len(framed))
	for i, section := range framed {
		sections[i] = routing.Section(section)
	}
	table, err := restoreTable(sections)
	if err != nil {
		return flags.Usagef("--snapshot: %s: %w", path, err)
	}
	lines := bufio.NewWriter(out)
	var failed error
	table.Documents(func(_ string, doc any) bool {
		text, err := document.Encode(doc)
		if err == nil {
			_, err = lines.Write(append(text, '\n'))
		}
		failed = err
		return err == nil
	})
	return errors.Join(failed, lines.Flush())
}

// restoreTable makes the table of a snapshot, whether its router read pins on demand or held all.
func restoreTable(sections []routing.Section) (*routing.Table, error) {
	held := routing.NewCompiler(catalog.NewReader().Decode)
	table, err := held.Restore(sections)
	if err == nil {
		return table, nil
	}
	asking := routing.NewCompiler(catalog.NewReader().Decode)
	asking.CachePins()
	if table, again := asking.Restore(sections); again == nil {
		return table, nil
	}
	return nil, err
}
