package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
)

// printTo writes to a terminal, or into a table whose Flush says what went wrong.
func printTo(out io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(out, format, args...) // if nobody listens there is nobody to tell
}

// oneOf refuses a form of output that is none of those known.
func oneOf(value string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return flags.Usagef("-o: %q is not known; write %s", value, strings.Join(known, " or "))
}

// writeJSON writes a value for programs.
func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// newTable returns a writer that aligns columns separated by tabs.
func newTable(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 0, 0, 2, ' ', 0) }

// maxListed is how many documents of one kind and action a plan lists one by one.
const maxListed = 40

// writePlan writes what a plan does, one line a document.
func writePlan(out io.Writer, plan *catalog.Plan, dryRun bool) error {
	table := newTable(out)
	counted := map[string]int{}
	for i := range plan.Changes {
		change := &plan.Changes[i]
		if change.Action == catalog.Unchanged {
			continue
		}
		folder, _, _ := strings.Cut(change.Key, "/")
		kind := string(change.Action) + "\t" + folder
		if counted[kind]++; counted[kind] <= maxListed {
			printTo(table, "%s\t%s%s\n", change.Action, change.Key, trailing(details(change)))
		}
	}
	kinds := make([]string, 0, len(counted))
	for kind := range counted {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		if rest := counted[kind] - maxListed; rest > 0 {
			printTo(table, "%s/... and %s more\n", kind, grouped(rest))
		}
	}
	for _, note := range plan.Notes {
		printTo(table, "note\t%s\n", note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !dryRun {
		return nil
	}
	_, err := fmt.Fprintf(out, "dry run at revision %d: %s to write in %s, %s unchanged; nothing was written\n", plan.Revision,
		count(plan.Pending(), "document"), count(plan.Transactions, "transaction"), grouped(len(plan.Changes)-plan.Pending()))
	return err
}

func trailing(details string) string {
	if details == "" {
		return ""
	}
	return "\t" + details
}

// details says what a change does beside writing its document.
func details(change *catalog.Change) string {
	var parts []string
	switch {
	case change.Action == catalog.Delete || change.EpochTo == 0:
	case change.EpochFrom == 0:
		parts = append(parts, fmt.Sprintf("epoch %d", change.EpochTo))
	case change.EpochFrom != change.EpochTo:
		parts = append(parts, fmt.Sprintf("epoch %d -> %d", change.EpochFrom, change.EpochTo))
	}
	for _, list := range []struct {
		label string
		items []string
	}{{"claims", change.Claims}, {"releases", change.Releases}, {"takes over", change.Takeovers}} {
		if len(list.items) > 0 {
			parts = append(parts, list.label+" "+someOf(list.items, 4))
		}
	}
	return strings.Join(parts, "; ")
}

// someOf lists the first few, and counts the rest.
func someOf(items []string, few int) string {
	if len(items) <= few {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s and %s more", strings.Join(items[:few], ", "), grouped(len(items)-few))
}

// writeResult writes what a complete Apply did.
func writeResult(out io.Writer, plan *catalog.Plan, result catalog.Result) error {
	same := len(plan.Changes) - plan.Pending()
	if plan.Pending() == 0 {
		_, err := fmt.Fprintf(out, "nothing to do: %s unchanged\n", count(same, "document"))
		return err
	}
	_, err := fmt.Fprintf(out, "done: %s written in %s, %s unchanged; revision %d\n",
		count(len(result.Written), "document"), count(result.Transactions, "transaction"), grouped(same), result.Revision)
	return err
}

// writeBroken writes how far an Apply came that stopped before its end.
func writeBroken(out io.Writer, result catalog.Result) error {
	_, err := fmt.Fprintf(out, "written (%s): %s\nnot written (%s): %s\n",
		grouped(len(result.Written)), noneOr(result.Written), grouped(len(result.Unwritten)), noneOr(result.Unwritten))
	return err
}

func noneOr(keys []string) string {
	if len(keys) == 0 {
		return "nothing"
	}
	return someOf(keys, maxListed)
}

// count writes "1 document", "2 documents".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}

// grouped writes a number with commas between thousands.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// progress tells on the error output how long work goes on, at most once a second, and
// nothing of work that is done within one.
type progress struct {
	out  io.Writer
	last time.Time
	told bool
}

func newProgress(out io.Writer) *progress { return &progress{out: out, last: time.Now()} }

func (p *progress) tell(now catalog.Progress) {
	if time.Since(p.last) < time.Second {
		return
	}
	p.last, p.told = time.Now(), true
	printTo(p.out, "written %s of %s\n", grouped(now.Done), count(now.Total, "document"))
}

func (p *progress) end() {
	if p.told {
		printTo(p.out, "%s\n", "writing ended")
	}
}
