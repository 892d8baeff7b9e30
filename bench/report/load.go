package report

import (
	"fmt"
	"html/template"
	"strings"

	"gridrouter.io/bench/load"
)

// LoadText writes the result of a load for people.
func LoadText(r *load.Result) string {
	var out strings.Builder
	fmt.Fprintf(&out, "answers    %d right in %.1f s: %s a second", r.Requests, r.Seconds, Number(r.Rate))
	if r.Offered > 0 {
		fmt.Fprintf(&out, ", %s were due", Number(r.Offered))
	}
	fmt.Fprintf(&out, "; %s MB a second of bodies\n", Number(float64(r.Bytes)/r.Seconds/1e6))
	fmt.Fprintf(&out, "errors     %d\n", r.Failed())
	for _, kind := range r.Kinds() {
		fmt.Fprintf(&out, "           %d %s, such as: %s\n", r.Errors[kind], kind, r.Examples[kind])
	}
	fmt.Fprintf(&out, "latency    %s\n", latencyText(r.Latency))
	if r.Offered > 0 {
		fmt.Fprintf(&out, "sent late  %s (the generator's own part of the latency)\n", latencyText(r.Lag))
	}
	fmt.Fprintf(&out, "generator  %s us of CPU a request\n", Number(r.CPUMicros))
	for _, doubt := range r.Doubts {
		fmt.Fprintf(&out, "IN DOUBT   %s\n", doubt)
	}
	return out.String()
}

func latencyText(l load.Latency) string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s  mean %s ms",
		ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max), ms(l.Mean))
}

func ms(micros float64) string { return Number(micros / 1e3) }

// LoadPage returns the result of a load as a page with plots.
func LoadPage(title string, r *load.Result, machine Machine) *Page {
	curve := Series{Name: "latency"}
	for _, p := range r.Curve {
		curve.X, curve.Y = append(curve.X, Nines(p.Percentile)), append(curve.Y, p.Micros/1e3)
	}
	rate, p50, slow := Series{Name: "answers"}, Series{Name: "p50"}, Series{Name: "p99"}
	failed := Series{Name: "errors"}
	for i, s := range r.Timeline {
		if float64(i+1) > r.Seconds+0.1 && i > 0 {
			break // the rest of a second would look like a collapse
		}
		at := float64(i + 1)
		rate.X, rate.Y = append(rate.X, at), append(rate.Y, float64(s.Requests))
		failed.X, failed.Y = append(failed.X, at), append(failed.Y, float64(s.Errors))
		p50.X, p50.Y = append(p50.X, at), append(p50.Y, s.P50/1e3)
		slow.X, slow.Y = append(slow.X, at), append(slow.Y, s.P99/1e3)
	}
	var about strings.Builder
	machine.Write(&about)
	lead := fmt.Sprintf("%d right answers in %.1f s, %s a second; %d errors.", r.Requests, r.Seconds, Number(r.Rate), r.Failed())
	result := Section{Heading: "Result", Notes: strings.Split(strings.TrimSpace(LoadText(r)), "\n")}
	if len(r.Doubts) > 0 {
		lead += " This result is in doubt: " + strings.Join(r.Doubts, "; ") + "."
	}
	return &Page{Title: title, Lead: lead, Sections: []Section{
		result,
		{Heading: "Latency", Text: []string{"Counted from when a request was due. Each further nine takes as much room as the one before."}, Figures: []template.HTML{
			(&Plot{Title: "Latency by percentile", XLabel: "percentile", YLabel: "milliseconds", LogY: true, XTicks: PercentileTicks(), Series: []Series{curve}}).SVG(),
			(&Plot{Title: "Latency over time", XLabel: "second", YLabel: "milliseconds", Series: []Series{p50, slow}}).SVG(),
		}},
		{Heading: "Throughput", Figures: []template.HTML{
			(&Plot{Title: "Answers and errors in each second", XLabel: "second", YLabel: "a second", Series: []Series{rate, failed}}).SVG(),
		}},
		{Heading: "Machine", Notes: strings.Split(strings.TrimSpace(about.String()), "\n")},
	}}
}
