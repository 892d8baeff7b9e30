package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"gridrouter.io/bench/report"
)

// Spread is the median of some values, with the least and the greatest.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func spreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Spread{(sorted[n/2] + sorted[(n-1)/2]) / 2, sorted[0], sorted[n-1]}
}

// Value is what was measured of one arm.
type Value struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Row is one goal, or one thing to know.
type Row struct {
	What string `json:"what"`
	Unit string `json:"unit,omitempty"`
	// Ours is the router's value, Peers are those of the others; medians of the rounds.
	Ours  float64 `json:"ours"`
	Peers []Value `json:"peers,omitempty"`
	// Ratio is ours over that of Against, of pairs measured one after the other; nil: the
	// value itself is judged.
	Ratio   *Spread `json:"ratio,omitempty"`
	Against string  `json:"against,omitempty"`
	// Must and Stretch are the most that is allowed and that is hoped for; nil: the row informs.
	Must    *float64 `json:"must,omitempty"`
	Stretch *float64 `json:"stretch,omitempty"`
	// Met is "stretch", "yes" or "no"; empty without a goal.
	Met string `json:"met,omitempty"`
	// Counted says that the value does not depend on how fast the machine is.
	Counted bool `json:"counted,omitempty"`
}

// Curve is the latency of one arm by percentile, for the plot.
type Curve struct {
	Name   string    `json:"name"`
	X      []float64 `json:"percentile"`
	Micros []float64 `json:"micros"`
}

// Report is the outcome of a run.
type Report struct {
	Machine  report.Machine `json:"machine"`
	Versions []string       `json:"versions"`
	Rows     []Row          `json:"rows"`
	Curves   []Curve        `json:"curves,omitempty"`
	// Rates are the answers a second of each arm in each round, small answers at saturation.
	Rates map[string][]float64 `json:"rates,omitempty"`
	Notes []string             `json:"notes,omitempty"`
}

func (r *Report) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// judge completes a row with goals and adds it.
func (r *Report) judge(row Row, must, stretch float64) {
	judged := row.Ours
	if row.Ratio != nil {
		judged = row.Ratio.Median
	}
	row.Must, row.Stretch, row.Met = &must, &stretch, "no"
	switch {
	case judged <= stretch:
		row.Met = "stretch"
	case judged <= must:
		row.Met = "yes"
	}
	r.Rows = append(r.Rows, row)
}

// slack is by how much a count may miss its goal before that is held against the build: how
// often a proxy asks the system for what is ready varies a little with how busy all are.
const slack = 1.15

// Missed returns what does not depend on the machine and yet missed its goal, by more than
// the slack.
func (r *Report) Missed() []string {
	var missed []string
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Counted && row.Met == "no" && row.Ours > *row.Must*slack {
			missed = append(missed, fmt.Sprintf("%s: %s, at most %s", row.What, row.number(row.Ours), row.number(*row.Must)))
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
	for _, version := range r.Versions {
		fmt.Fprintf(&out, "With    %s\n", version)
	}
	out.WriteByte('\n')
	table := tabwriter.NewWriter(&out, 0, 4, 2, ' ', 0)
	lines := append(make([]string, 0, 1+len(r.Rows)), strings.Join(header, "\t"))
	for i := range r.Rows {
		lines = append(lines, strings.Join(r.Rows[i].cells(), "\t"))
	}
	if _, err := fmt.Fprintln(table, strings.ToUpper(lines[0])+"\n"+strings.Join(lines[1:], "\n")); err != nil {
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

var header = []string{"what", "ours", "peers", "ratio (spread)", "must", "stretch", "met"}

func (r *Row) cells() []string {
	peers := make([]string, 0, len(r.Peers))
	for _, p := range r.Peers {
		peers = append(peers, p.Name+" "+report.Number(p.Value))
	}
	ratio := "-"
	if r.Ratio != nil {
		ratio = fmt.Sprintf("%.2f (%.2f-%.2f) of %s", r.Ratio.Median, r.Ratio.Low, r.Ratio.High, r.Against)
	}
	must, stretch, met := "-", "-", "-"
	if r.Must != nil {
		must, stretch, met = r.goal(*r.Must), r.goal(*r.Stretch), r.Met
	}
	return []string{r.What, r.number(r.Ours), orDash(strings.Join(peers, ", ")), ratio, must, stretch, met}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (r *Row) goal(v float64) string {
	if r.Ratio != nil {
		return fmt.Sprintf("%.2f", v)
	}
	return r.number(v)
}

func (r *Row) number(v float64) string { return strings.TrimSpace(report.Number(v) + " " + r.Unit) }

// Page returns the report as a page with plots.
func (r *Report) Page() *report.Page {
	met, goals := 0, 0
	table := &report.Table{Header: header}
	var bars []report.Section
	for i := range r.Rows {
		row := &r.Rows[i]
		class := ""
		if row.Must != nil {
			goals++
			class = "missed"
			if row.Met != "no" {
				met++
				class = "met"
			}
		}
		cells := row.cells()
		for _, number := range []int{1, 4, 5} { // which stay with their units
			cells[number] = strings.ReplaceAll(cells[number], " ", "\u00a0")
		}
		table.Rows = append(table.Rows, report.TableRow{Class: class, Cells: cells})
		if len(row.Peers) > 0 && row.Ours > 0 {
			values := []report.Bar{{Name: "gridrouter", Value: row.Ours}}
			for _, p := range row.Peers {
				values = append(values, report.Bar{Name: p.Name, Value: p.Value})
			}
			if len(bars) == 0 {
				bars = append(bars, report.Section{Heading: "Beside the others", Text: []string{"Medians of the rounds; less is better."}})
			}
			bars[0].Figures = append(bars[0].Figures, report.Bars(row.What, row.Unit, values))
		}
	}
	page := &report.Page{
		Title: "gridrouter beside other proxies",
		Lead:  fmt.Sprintf("%d of %d goals are met on this machine.", met, goals),
		Sections: []report.Section{
			{Heading: "Goals", Text: []string{"Ratios are the router's value over the other's, of pairs measured one after the other in this run; the spread is that of the rounds."}, Table: table},
		},
	}
	page.Sections = append(page.Sections, bars...)
	if len(r.Curves) > 0 {
		plot := report.Plot{Title: "Latency by percentile, open loop at half of saturation", XLabel: "percentile", YLabel: "microseconds", LogY: true, XTicks: report.PercentileTicks()}
		for _, c := range r.Curves {
			s := report.Series{Name: c.Name}
			for i := range c.X {
				s.X, s.Y = append(s.X, report.Nines(c.X[i])), append(s.Y, c.Micros[i])
			}
			plot.Series = append(plot.Series, s)
		}
		page.Sections = append(page.Sections, report.Section{Heading: "Latency", Text: []string{"Counted from when a request was due. Each further nine takes as much room as the one before."}, Figures: []htmlFigure{plot.SVG()}})
	}
	if len(r.Rates) > 0 {
		plot := report.Plot{Title: "Answers a second, small answers at saturation", XLabel: "round", YLabel: "answers a second"}
		for _, name := range sortedKeys(r.Rates) {
			s := report.Series{Name: name, Y: r.Rates[name]}
			for i := range s.Y {
				s.X = append(s.X, float64(i+1))
			}
			plot.Series = append(plot.Series, s)
		}
		page.Sections = append(page.Sections, report.Section{Heading: "Throughput", Text: []string{"Load generator and decks take their part of the same cores, so that this compares arms and says little of what a machine can do."}, Figures: []htmlFigure{plot.SVG()}})
	}
	var machine strings.Builder
	r.Machine.Write(&machine)
	page.Sections = append(page.Sections, report.Section{Heading: "Machine and versions",
		Notes: append(strings.Split(strings.TrimSpace(machine.String()), "\n"), r.Versions...)},
		report.Section{Heading: "How it was measured", Notes: r.Notes})
	return page
}
