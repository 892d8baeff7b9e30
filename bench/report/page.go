package report

import (
	"html/template"
	"io"
)

// Page is a report as one HTML file.
type Page struct {
	Title string
	// Lead says in a sentence or two what came out.
	Lead     string
	Sections []Section
}

// Section is a part of a page: each of its fields may be empty.
type Section struct {
	Heading string
	Text    []string
	Table   *Table
	Figures []template.HTML
	Notes   []string
}

// Table is rows of texts below a header. A row's class is one of "met", "missed" or empty.
type Table struct {
	Header []string
	Rows   []TableRow
}

// TableRow is a row of a table.
type TableRow struct {
	Class string
	Cells []string
}

// Write writes the page.
func (p *Page) Write(w io.Writer) error { return page.Execute(w, p) }

var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --line: #d8d8d8; --quiet: #666; --good: #00694b; --bad: #a83c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #161616; --line: #3a3a3a; --quiet: #a0a0a0; --good: #4fc79b; --bad: #ff9a5c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1060px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em; }
h2 { font-size: 1.15em; margin: 2em 0 .4em; }
.lead { font-size: 1.1em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25em .9em .25em 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { white-space: nowrap; }
td:first-child { min-width: 15em; }
th { color: var(--quiet); font-weight: 600; }
tr.met td:last-child { color: var(--good); font-weight: 600; }
tr.missed td:last-child { color: var(--bad); font-weight: 600; }
svg { width: 100%; height: auto; max-width: 760px; margin-top: .6em; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg text.title { font-weight: 600; font-size: 13px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg.key { width: 30px; height: 10px; display: inline; vertical-align: middle; }
.legend span { margin-right: 1.4em; white-space: nowrap; }
.legend { margin: .2em 0 0; }
.notes { color: var(--quiet); }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
{{with .Lead}}<p class="lead">{{.}}</p>{{end}}
{{range .Sections}}<section>
{{with .Heading}}<h2>{{.}}</h2>{{end}}
{{range .Text}}<p>{{.}}</p>
{{end}}{{with .Table}}<div class="scroll"><table>
<thead><tr>{{range .Header}}<th>{{.}}</th>{{end}}</tr></thead>
<tbody>
{{range .Rows}}<tr class="{{.Class}}">{{range .Cells}}<td>{{.}}</td>{{end}}</tr>
{{end}}</tbody></table></div>{{end}}
{{range .Figures}}{{.}}
{{end}}{{with .Notes}}<ul class="notes">{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}
</section>
{{end}}</body>
</html>
`))
