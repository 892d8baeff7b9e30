package table

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"gridrouter.io/bench/report"
)

// Row is one thing that was measured.
type Row struct {
	// What was measured, in words.
	What string `json:"what"`
	// Unit of all numbers of the row: "B", "ns", "us", "ms", "s", "MB", or empty for a count.
	Unit string `json:"unit,omitempty"`
	// Bar and Stretch are the most that is allowed and that is hoped for; nil: the row only informs.
	Bar     *float64 `json:"bar,omitempty"`
	Stretch *float64 `json:"stretch,omitempty"`
	// Measured is the result.
	Measured float64 `json:"measured"`
	// Met is "stretch", "yes" or "no"; empty without a bar.
	Met string `json:"met,omitempty"`
	// Counted says that the result does not depend on how fast the machine is.
	Counted bool `json:"counted,omitempty"`
}

// Report is the outcome of a run.
type Report struct {
	Machine report.Machine `json:"machine"`
	Rows    []Row          `json:"rows"`
	// Notes say how it was measured, for people.
	Notes []string `json:"notes,omitempty"`
}

// inform adds a row without a bar.
func (r *Report) inform(what, unit string, measured float64) {
	r.Rows = append(r.Rows, Row{What: what, Unit: unit, Measured: measured})
}

// judge adds a row that has a bar and a stretch goal, and returns it.
func (r *Report) judge(what, unit string, measured, bar, stretch float64) *Row {
	met := "no"
	switch {
	case measured <= stretch:
		met = "stretch"
	case measured <= bar:
		met = "yes"
	}
	r.Rows = append(r.Rows, Row{What: what, Unit: unit, Measured: measured, Bar: &bar, Stretch: &stretch, Met: met})
	return &r.Rows[len(r.Rows)-1]
}

// fullSize is how many tenants some of the bars are stated for.
const fullSize = 1_000_000

// judgeFull is judge for a bar that is stated for a million tenants: with fewer, the row
// only informs, and nil is returned.
func (b *bench) judgeFull(what, unit string, measured, bar, stretch float64) *Row {
	if b.Tenants < fullSize {
		b.report.inform(what, unit, measured)
		return nil
	}
	return b.report.judge(what, unit, measured, bar, stretch)
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Missed returns what does not depend on the machine and yet missed its bar.
func (r *Report) Missed() []string {
	var missed []string
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Counted && row.Met == "no" {
			missed = append(missed, fmt.Sprintf("%s: %s, at most %s", row.What, row.number(&row.Measured), row.number(row.Bar)))
		}
	}
	return missed
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var out strings.Builder
	r.Machine.Write(&out)
	out.WriteByte('\n')
	table := tabwriter.NewWriter(&out, 0, 4, 2, ' ', 0)
	lines := make([]string, 0, 1+len(r.Rows))
	lines = append(lines, "WHAT\tBAR\tSTRETCH\tMEASURED\tMET")
	for i := range r.Rows {
		row := &r.Rows[i]
		met := row.Met
		if met == "" {
			met = "-"
		}
		lines = append(lines, strings.Join([]string{row.What, row.number(row.Bar), row.number(row.Stretch), row.number(&row.Measured), met}, "\t"))
	}
	if _, err := fmt.Fprintln(table, strings.Join(lines, "\n")); err != nil {
		return err
	}
	if err := table.Flush(); err != nil {
		return err
	}
	out.WriteByte('\n')
	for _, note := range r.Notes {
		fmt.Fprintf(&out, "- %s\n", note)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// number writes one of the row's numbers with three digits and its unit.
func (r *Row) number(v *float64) string {
	if v == nil {
		return "-"
	}
	digits := 2
	switch {
	case *v == float64(int64(*v)) || *v >= 100:
		digits = 0
	case *v >= 10:
		digits = 1
	}
	return strings.TrimSpace(strconv.FormatFloat(*v, 'f', digits, 64) + " " + r.Unit)
}
