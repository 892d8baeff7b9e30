package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Series is a line of a plot.
type Series struct {
	Name string
	X, Y []float64
}

// Tick is a place on the X axis that bears a text.
type Tick struct {
	X    float64
	Text string
}

// Plot is a diagram of lines over one X axis; the Y axis begins at 0, or, with LogY, at a power
// of ten.
type Plot struct {
	Title, XLabel, YLabel string
	Series                []Series
	// XTicks are the places on the X axis that are named; none: round numbers.
	XTicks []Tick
	LogY   bool
}

// Nines returns the X at which plots of latency show a percentile: each further nine takes as
// much room as the one before.
func Nines(percentile float64) float64 { return -math.Log10(1 - min(percentile, 99.999)/100) }

// PercentileTicks are ticks for an axis of [Nines].
func PercentileTicks() []Tick {
	named := []float64{0, 50, 90, 99, 99.9, 99.99, 99.999}
	ticks := make([]Tick, 0, len(named))
	for _, p := range named {
		ticks = append(ticks, Tick{Nines(p), strconv.FormatFloat(p, 'f', -1, 64) + " %"})
	}
	return ticks
}

// colors are told apart by people who see no red or no green (after Okabe and Ito), and each
// line has its own dashes.
var (
	colors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"}
	dashes = []string{"", "6 3", "2 3", "9 3 2 3", "12 4", "4 4", "1 2"}
)

const (
	width, height      = 720.0, 300.0
	left, right        = 70.0, 40.0
	top, bottom        = 34.0, 46.0
	inWidth, inHeight  = width - left - right, height - top - bottom
	barHeight, barLeft = 22.0, 170.0
)

// scale maps a value to a place.
type scale struct {
	low, high float64
	log       bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		return (math.Log10(math.Max(v, s.low)) - math.Log10(s.low)) / (math.Log10(s.high) - math.Log10(s.low))
	}
	return (v - s.low) / (s.high - s.low)
}

// SVG draws the plot.
func (p *Plot) SVG() template.HTML {
	x, y := p.scales()
	var out strings.Builder
	fmt.Fprintf(&out, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(p.Title))
	text(&out, left, 16, "start", "title", p.Title)
	px := func(v float64) float64 { return left + inWidth*x.at(v) }
	py := func(v float64) float64 { return top + inHeight*(1-y.at(v)) }
	for _, v := range y.ticks() {
		fmt.Fprintf(&out, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, left, width-right, py(v), py(v))
		text(&out, left-6, py(v)+4, "end", "", Number(v))
	}
	ticks := p.XTicks
	if ticks == nil {
		for _, v := range x.ticks() {
			ticks = append(ticks, Tick{v, Number(v)})
		}
	}
	for _, tick := range ticks {
		if tick.X >= x.low && tick.X <= x.high*1.0001 {
			text(&out, px(tick.X), height-bottom+16, "middle", "", tick.Text)
		}
	}
	text(&out, left+inWidth/2, height-8, "middle", "", p.XLabel)
	text(&out, width-right, 16, "end", "", p.YLabel)
	for i, s := range p.Series {
		var line strings.Builder
		for j := range s.X {
			fmt.Fprintf(&line, "%.1f,%.1f ", px(s.X[j]), py(s.Y[j]))
		}
		fmt.Fprintf(&out, `<polyline fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s" points="%s"/>`,
			colors[i%len(colors)], dashes[i%len(dashes)], strings.TrimSpace(line.String()))
	}
	out.WriteString("</svg>")
	if len(p.Series) > 1 {
		out.WriteString(`<p class="legend">`)
		for i, s := range p.Series {
			fmt.Fprintf(&out, `<span><svg viewBox="0 0 30 10" class="key"><line x1="0" x2="30" y1="5" y2="5" stroke="%s" stroke-width="3" stroke-dasharray="%s"/></svg> %s</span> `,
				colors[i%len(colors)], dashes[i%len(dashes)], template.HTMLEscapeString(s.Name))
		}
		out.WriteString("</p>")
	}
	return template.HTML(out.String()) //nolint:gosec // every text in it was escaped above
}

func (p *Plot) scales() (x, y scale) {
	x = scale{low: math.Inf(1), high: math.Inf(-1)}
	y = scale{log: p.LogY, low: math.Inf(1)}
	for _, s := range p.Series {
		for i := range s.X {
			x.low, x.high = math.Min(x.low, s.X[i]), math.Max(x.high, s.X[i])
			y.high = math.Max(y.high, s.Y[i])
			if s.Y[i] > 0 {
				y.low = math.Min(y.low, s.Y[i])
			}
		}
	}
	if !(x.high > x.low) {
		x.low, x.high = math.Min(x.low, 0), math.Max(x.low+1, 1)
		if math.IsInf(x.low, 0) || math.IsInf(x.high, 0) {
			x.low, x.high = 0, 1
		}
	}
	if !p.LogY || math.IsInf(y.low, 0) {
		y.log, y.low, y.high = false, 0, math.Max(y.high*1.05, 1e-9)
		return x, y
	}
	y.low, y.high = math.Pow(10, math.Floor(math.Log10(y.low))), math.Pow(10, math.Ceil(math.Log10(math.Max(y.high, y.low*1.01))))
	return x, y
}

// ticks are round values on the scale: at most eight, or the powers of ten.
func (s scale) ticks() []float64 {
	var ticks []float64
	if s.log {
		for v := s.low; v <= s.high*1.001; v *= 10 {
			ticks = append(ticks, v)
		}
		return ticks
	}
	step := math.Pow(10, math.Floor(math.Log10((s.high-s.low)/2)))
	for _, times := range []float64{1, 2, 5, 10} {
		if (s.high-s.low)/(step*times) <= 8 {
			step *= times
			break
		}
	}
	for v := math.Ceil(s.low/step) * step; v <= s.high; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}

func text(out *strings.Builder, x, y float64, anchor, class, content string) {
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`, x, y, anchor, class, template.HTMLEscapeString(content))
}

// Number writes a number with three digits.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + " M"
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.095:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// Bar is one value among others. Text, if not empty, follows the value, as a spread does.
type Bar struct {
	Name  string
	Value float64
	Text  string
}

// Bars draws values beside each other, from 0; the first one stands out.
func Bars(title, unit string, bars []Bar) template.HTML {
	high := 1e-9
	for _, b := range bars {
		high = math.Max(high, b.Value)
	}
	tall := top + float64(len(bars))*(barHeight+8)
	var out strings.Builder
	fmt.Fprintf(&out, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, tall, template.HTMLEscapeString(title))
	text(&out, 0, 16, "start", "title", title)
	for i, b := range bars {
		y := top + float64(i)*(barHeight+8)
		color := "#9a9a9a"
		if i == 0 {
			color = colors[0]
		}
		text(&out, barLeft-8, y+15, "end", "", b.Name)
		long := (width - barLeft - 190) * b.Value / high
		fmt.Fprintf(&out, `<rect x="%g" y="%g" width="%.1f" height="%g" fill="%s"/>`, barLeft, y, long, barHeight, color)
		text(&out, barLeft+long+8, y+15, "start", "", strings.TrimSpace(Number(b.Value)+" "+unit+" "+b.Text))
	}
	out.WriteString("</svg>")
	return template.HTML(out.String()) //nolint:gosec // every text in it was escaped above
}
