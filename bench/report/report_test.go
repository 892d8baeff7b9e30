package report

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"gridrouter.io/bench/load"
)

func TestNumbersHaveThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1: "1", 12.345: "12.3", 123.4: "123", 0.1234: "0.12", 0.01234: "0.012", 1.005: "1.00", 2_500_000: "2.5 M", 26592.3: "26592"} {
		if got := Number(v); got != want {
			t.Errorf("%g: %q, want %q", v, got, want)
		}
	}
}

func TestPlotsHoldNoNumberThatIsNone(t *testing.T) {
	for name, p := range map[string]Plot{
		"nothing":     {Title: "x"},
		"one point":   {Series: []Series{{Name: "a", X: []float64{1}, Y: []float64{0}}}},
		"all zero":    {LogY: true, Series: []Series{{X: []float64{0, 1}, Y: []float64{0, 0}}}},
		"one value":   {LogY: true, Series: []Series{{X: []float64{0, 1}, Y: []float64{5, 5}}}},
		"percentiles": {LogY: true, XTicks: PercentileTicks(), Series: []Series{{X: []float64{Nines(0), Nines(100)}, Y: []float64{1, 1e6}}}},
	} {
		svg := string(p.SVG())
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || !strings.HasPrefix(svg, "<svg") {
			t.Errorf("%s: %s", name, svg)
		}
	}
}

func TestTextsOfPlotsAreEscaped(t *testing.T) {
	p := Plot{Title: "<b>", XLabel: "<x>", YLabel: "<y>", Series: []Series{{Name: "<s>", X: []float64{0}, Y: []float64{1}}, {Name: "<t>"}}}
	if svg := string(p.SVG()) + string(Bars("<c>", "<u>", []Bar{{"<n>", 1, "<e>"}})); strings.Contains(svg, "<b>") || strings.Contains(svg, "<s>") || strings.Contains(svg, "<n>") || strings.Contains(svg, "<e>") {
		t.Error(svg)
	}
}

func TestEachFurtherNineTakesAsMuchRoom(t *testing.T) {
	for _, pair := range [][2]float64{{0, 90}, {90, 99}, {99, 99.9}} {
		if step := Nines(pair[1]) - Nines(pair[0]); math.Abs(step-1) > 1e-9 {
			t.Errorf("from %g to %g: %g, want 1", pair[0], pair[1], step)
		}
	}
}

func TestALoadIsTold(t *testing.T) {
	r := &load.Result{Seconds: 2, Requests: 100, Rate: 50, Offered: 60, Errors: map[string]int64{"wrong body": 3}, Examples: map[string]string{"wrong body": "a <b>"},
		Curve: []load.Point{{Percentile: 0, Micros: 10}, {Percentile: 99, Micros: 900}}, Timeline: []load.Second{{Requests: 50, P50: 10, P99: 20}, {Requests: 50, P50: 10, P99: 30}},
		Doubts: []string{"too slow"}}
	text := LoadText(r)
	for _, want := range []string{"100 right in 2.0 s", "60 were due", "3 wrong body, such as: a <b>", "IN DOUBT   too slow", "sent late"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	var page bytes.Buffer
	if err := LoadPage("Load", r, Machine{CPU: "abacus"}).Write(&page); err != nil || !strings.Contains(page.String(), "in doubt: too slow") || !strings.Contains(page.String(), "a &lt;b&gt;") || strings.Contains(page.String(), "NaN") {
		t.Errorf("%v\n%s", err, page.String())
	}
}
