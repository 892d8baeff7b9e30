package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
)

// newHistoryCommand returns "gridctl history".
func newHistoryCommand(to *connection) *cobra.Command {
	var show historyFlags
	cmd := &cobra.Command{
		Use:   "history deck|tenant|gslb NAME | history pin TENANT KEY",
		Short: "Show who changed a document, when and why",
		Long: fmt.Sprintf(`Prints the changes of one document, the newest first: the last %d are kept, also of a document
that is deleted. Each has a number, which "gridctl rollback --to" takes. Pins that were deleted
along with their tenant have no change that says so.

EPOCH is a tenant's epoch before and after the change. -o yaml and -o json print all that is
kept of each change, with the document before and after it; json is one change a line.
--diff N prints, as diff -u does, what change N changed in the document.`, catalog.KeptRecords),
		Example: `  gridctl history tenant acme
  gridctl history tenant acme --diff 7
  gridctl history pin initech 10086 --limit 3 -o yaml`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := oneDocument(args)
			if err != nil {
				return err
			}
			if err := show.check(cmd); err != nil {
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				records, err := grid.Changes(ctx, key)
				if err != nil {
					return err
				}
				return show.write(cmd.OutOrStdout(), key, records)
			})
		},
	}
	cmd.Flags().StringVarP(&show.output, "output", "o", "table", "table, yaml or json")
	cmd.Flags().IntVar(&show.limit, "limit", 0, "print the newest `N` changes at most (default all that are kept)")
	cmd.Flags().Int64Var(&show.diff, "diff", 0, "print what change `N` changed (default none: the list)")
	return cmd
}

// oneDocument makes a document's key of the arguments KIND NAME, or pin TENANT KEY.
func oneDocument(args []string) (string, error) {
	folder, err := folderOf(args[0])
	if err != nil {
		return "", err
	}
	return documentKey(folder, args[1:])
}

// historyFlags say what is shown of a history.
type historyFlags struct {
	output string
	limit  int
	diff   int64
}

func (h *historyFlags) check(cmd *cobra.Command) error {
	given := cmd.Flags().Changed
	switch {
	case given("limit") && h.limit < 1:
		return flags.Usagef("--limit: %d is no number of changes; write 1 or more", h.limit)
	case given("diff") && h.diff < 1:
		return flags.Usagef("--diff: %d is no number of a change; write 1 or more", h.diff)
	case given("diff") && (given("limit") || given("output")):
		return flags.Usagef("--diff shows one change as text; leave out --limit and -o")
	}
	return oneOf(h.output, "table", "yaml", "json")
}

// write prints records, which are sorted by number, the newest first.
func (h *historyFlags) write(out io.Writer, key string, records []catalog.Record) error {
	if h.diff > 0 {
		return writeRecordDiff(out, key, records, h.diff)
	}
	if h.limit > 0 {
		records = records[:min(h.limit, len(records))]
	}
	switch h.output {
	case "yaml":
		return writeRecords(out, records, "---\n", toYAML)
	case "json":
		return writeRecords(out, records, "", toJSONLine)
	}
	table := newTable(out)
	printTo(table, "%s\n", "CHANGE\tWHEN\tWHO\tACTION\tEPOCH\tWHY")
	for i := range records {
		r := &records[i]
		printTo(table, "%d\t%s\t%s\t%s\t%s\t%s\n", r.Number, r.When.UTC().Format(time.RFC3339), onOneLine(r.Who), r.Action(), epochsOf(r), orElse(onOneLine(r.Why), "-"))
	}
	return table.Flush()
}

// onOneLine keeps what somebody wrote from upsetting a terminal or a table.
func onOneLine(text string) string {
	quoted := strconv.QuoteToGraphic(text)
	if strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`) == text {
		return text
	}
	return quoted
}

// epochsOf is a tenant's epoch before and after a change.
func epochsOf(r *catalog.Record) string {
	before, after := r.Epochs()
	switch {
	case before == 0 && after == 0:
		return "-"
	case before == after:
		return strconv.FormatUint(after, 10)
	case before == 0:
		return fmt.Sprintf("none -> %d", after)
	case after == 0:
		return fmt.Sprintf("%d -> none", before)
	}
	return fmt.Sprintf("%d -> %d", before, after)
}

// shownRecord is a change as -o yaml and -o json print it.
type shownRecord struct {
	Number      int64           `json:"number"`
	Action      catalog.Action  `json:"action"`
	Who         string          `json:"who"`
	When        time.Time       `json:"when"`
	Why         string          `json:"why"`
	EpochBefore uint64          `json:"epochBefore,omitempty"`
	EpochAfter  uint64          `json:"epochAfter,omitempty"`
	Before      json.RawMessage `json:"before"`
	After       json.RawMessage `json:"after"`
}

// writeRecords writes changes one by one, each in a form after what separates it.
func writeRecords(out io.Writer, records []catalog.Record, before string, form func([]byte) ([]byte, error)) error {
	for i := range records {
		r := &records[i]
		shown := shownRecord{Number: r.Number, Action: r.Action(), Who: r.Who, When: r.When, Why: r.Why, Before: r.Before, After: r.After}
		shown.EpochBefore, shown.EpochAfter = r.Epochs()
		var value bytes.Buffer
		encoder := json.NewEncoder(&value)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(shown); err != nil {
			return err
		}
		text, err := form(value.Bytes())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s%s", before, text); err != nil {
			return err
		}
	}
	return nil
}

// writeRecordDiff writes what one change changed.
func writeRecordDiff(out io.Writer, key string, records []catalog.Record, number int64) error {
	for i := range records {
		r := &records[i]
		if r.Number != number {
			continue
		}
		text := diff.Diff(fmt.Sprintf("%s before change %d", key, number), recordedText(r.Before),
			fmt.Sprintf("%s after change %d", key, number), recordedText(r.After))
		if len(text) == 0 {
			text = []byte("the document was written as it was\n")
		}
		_, err := out.Write(text)
		return err
	}
	return flags.Usagef("--diff: no change %d of %s is kept; those that are have the numbers %d to %d", number, key,
		records[len(records)-1].Number, records[0].Number)
}

// recordedText is a form in a record as people read it; nothing for no document.
func recordedText(form json.RawMessage) []byte {
	if len(form) == 0 || string(form) == "null" {
		return nil
	}
	if text, err := toYAML(form); err == nil {
		return text
	}
	return append(bytes.Clone(form), '\n')
}
