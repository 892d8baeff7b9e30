package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/valyala/fasthttp"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
)

// newExportCommand returns "gridctl export".
func newExportCommand(to *connection) *cobra.Command {
	var at adminAddress
	var snapshot string
	cmd := &cobra.Command{
		Use:   "export [--router ADDRESS | --snapshot FILE]",
		Short: "Print all documents, for a backup or from a router when etcd has lost them",
		Long: `Prints all documents that etcd holds, of every kind and as they stood at one revision, as
"gridctl apply -f FILE --restore" reads them: a JSON object a line. Applied to an empty etcd they give
the same documents. What is bad in etcd is printed as far as it is JSON, and told on the error output.

With --router or --snapshot it asks no etcd, and prints the documents that a router has in force, or
had by its snapshot: every router holds them, also when etcd has lost them. These are decks, tenants
(with the epochs that are in force) and pins. What a router does not hold is not printed: Gslb documents, pins with "pins: cached", and tenants that never were good. How many
pins are missing for that is told on the error output: without them their keys go by ranges and
split, to other decks than before. Gslb documents are in the snapshots of GSLB servers, which
--snapshot takes as well ($STATE_DIRECTORY/gridrouter/gslb-NAME.snap). Keep the snapshot of a
router ($STATE_DIRECTORY/gridrouter/NAME.snap) before you start it anew on an empty etcd.`,
		Example: `  gridctl export > documents.json
  gridctl export --router 127.0.0.1:9901 > documents.json
  gridctl export --snapshot /var/lib/gridrouter/r1.snap | gridctl apply -f - --restore --why "etcd was lost"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case at.router != "" && snapshot != "":
				return flags.Usagef("--router and --snapshot: whose documents? give one of them")
			case at.router == "" && snapshot == "":
				return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
					return exportAll(ctx, grid, cmd.OutOrStdout(), cmd.ErrOrStderr())
				})
			case snapshot != "":
				return exportSnapshot(cmd.OutOrStdout(), cmd.ErrOrStderr(), snapshot)
			}
			return at.stream(cmd.Context(), fasthttp.MethodGet, "export", to.timeout, func(answer *adminAnswer) error {
				if _, err := io.Copy(cmd.OutOrStdout(), answer); err != nil {
					return err
				}
				missing, _ := strconv.Atoi(answer.header(pinsOnDemand)) // an older router does not say
				tellMissingPins(cmd.ErrOrStderr(), missing)
				return nil
			})
		},
	}
	at.register(cmd.Flags(), "to ask")
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "`FILE` that a router keeps (serve --snapshot) (default none)")
	return cmd
}

// exportAll prints all documents that etcd holds.
func exportAll(ctx context.Context, grid *catalog.Catalog, out, faults io.Writer) error {
	lines := bufio.NewWriter(out)
	found, err := show(ctx, grid, "", false, newPrinter(lines, "", "json"))
	if err == nil && found == 0 {
		printTo(faults, "etcd holds no documents there\n")
	}
	return errors.Join(err, lines.Flush())
}

// pinsOnDemand is the header in which a router says how many pins its export lacks.
const pinsOnDemand = "X-Grid-Pins-On-Demand"

// tellMissingPins says that an export is not all there is.
func tellMissingPins(out io.Writer, missing int) {
	if missing > 0 {
		printTo(out, "%s of tenants with \"pins: cached\" %s not among these documents, since the router reads them on demand: without them their keys go by ranges and split\n",
			count(missing, "pin"), map[bool]string{true: "is", false: "are"}[missing == 1])
	}
}

// exportNames prints the documents of a GSLB server's snapshot.
func exportNames(out io.Writer, sections []discovery.SnapshotSection) error {
	var documents []json.RawMessage
	for _, section := range sections {
		if section.Name == discovery.SnapshotNames {
			if err := json.Unmarshal(section.Data, &documents); err != nil {
				return flags.Usagef("--snapshot: section %s: %w", section.Name, err)
			}
		}
	}
	lines := bufio.NewWriter(out)
	for _, document := range documents {
		_, _ = lines.Write(append(document, '\n')) // Flush tells of what went wrong
	}
	return lines.Flush()
}

// exportSnapshot prints the documents of a snapshot.
func exportSnapshot(out, faults io.Writer, path string) error {
	header, framed, err := discovery.ReadSnapshot(path)
	if err != nil {
		return flags.Usagef("--snapshot: %w", err)
	}
	if strings.HasPrefix(header.Of, discovery.SnapshotOfNames) {
		return exportNames(out, framed)
	}
	if header.Format != compile.SnapshotFormat {
		return flags.Usagef("--snapshot: %s has format %d, and this gridctl reads %d; use the one of the router's version", path, header.Format, compile.SnapshotFormat)
	}
	sections := make([]compile.Section, len(framed))
	for i, section := range framed {
		sections[i] = compile.Section(section)
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
	tellMissingPins(faults, table.PinsOnDemand())
	return errors.Join(failed, lines.Flush())
}

// restoreTable makes the table of a snapshot, whether its router read pins on demand or held all.
func restoreTable(sections []compile.Section) (*routing.Table, error) {
	held := compile.NewCompiler(catalog.NewReader().Decode)
	table, err := held.Restore(sections)
	if err == nil {
		return table, nil
	}
	asking := compile.NewCompiler(catalog.NewReader().Decode)
	asking.CachePins()
	if table, again := asking.Restore(sections); again == nil {
		return table, nil
	}
	return nil, err
}
