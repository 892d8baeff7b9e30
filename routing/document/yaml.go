package document

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// chunk is the text of one document in a file, and the number of its first line.
type chunk struct {
	text string
	line int
}

// splitYAML cuts a file at its document markers: lines that begin with "---" or "..."
// and then end or go on with white space (YAML 1.2.2, 9.1.2). Such a line cannot be part
// of a document, so that a fault in one document leaves the others readable.
func splitYAML(text string) []chunk {
	var chunks []chunk
	start, startLine, line := 0, 1, 0
	cut := func(end, nextLine int) {
		if !isBlank(text[start:end]) {
			chunks = append(chunks, chunk{text: text[start:end], line: startLine})
		}
		start, startLine = end, nextLine
	}
	for at := 0; at < len(text); {
		line++
		end := len(text)
		if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		switch {
		case isMarker(text[at:end], "---"):
			cut(at, line)
		case isMarker(text[at:end], "..."):
			cut(end, line+1)
		}
		at = end
	}
	cut(len(text), 0)
	return chunks
}

// isMarker says whether a line is a document marker.
func isMarker(line, marker string) bool {
	rest, ok := strings.CutPrefix(line, marker)
	return ok && (rest == "" || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// isBlank says whether a chunk holds no document: only markers, comments and white space.
func isBlank(text string) bool {
	for line := range strings.Lines(text) {
		if isMarker(line, "---") || isMarker(line, "...") {
			line = line[3:]
		}
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return true
}

// firstLine returns the first line that holds more than white space or a comment.
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && trimmed[0] != '#' {
			return line
		}
	}
	return ""
}

// parseYAML makes nodes of the text of one document.
func parseYAML(c chunk, f *faults) node {
	if at := strings.Index(c.text, "\uFEFF"); at >= 0 && isBlank(c.text[:at]) {
		c.text = c.text[:at] + c.text[at+len("\uFEFF"):] // each document may begin with one (YAML 1.2, 5.2)
	}
	p := yamlParser{parsing{faults: f}, int32(c.line - 1)}
	if first := firstLine(c.text); strings.HasPrefix(first, "%") {
		p.fault(place{int32(c.line), 1}, "begins with a directive (%s); leave it out", clip(strings.TrimSpace(first)))
		return node{}
	}
	if at := oddLineBreak(c.text); at >= 0 {
		r, _ := utf8.DecodeRuneInString(c.text[at:])
		p.fault(place{int32(c.line + strings.Count(c.text[:at], "\n")), 1},
			"holds %U, a line break to some readers of YAML; end lines by a line feed, and write it as an escape in text", r)
		return node{}
	}
	decoder := yaml.NewDecoder(strings.NewReader(c.text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		p.syntax(err, c.text)
		return node{}
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		p.fault(place{int32(c.line), 1}, "goes on after its end; separate documents by lines that begin with ---")
		return node{}
	}
	return p.node(document.Content[0], 1)
}

// oddLineBreak returns the offset of the first character that ends a line in YAML 1.1,
// but not in our splitting, nor in YAML 1.2 (5.4); -1 if there is none.
func oddLineBreak(text string) int {
	for i, r := range text {
		switch r {
		case 0x85, 0x2028, 0x2029:
			return i
		case '\r':
			if i+1 == len(text) || text[i+1] != '\n' {
				return i
			}
		}
	}
	return -1
}

type yamlParser struct {
	parsing
	before int32 // lines before the chunk
}

// yamlLine finds the line in an error of the YAML parser, which has it in its text only.
var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// syntax reports that the text is not YAML.
func (p *yamlParser) syntax(err error, source string) {
	at, text := place{p.before + 1, 1}, err.Error()
	reported := 1
	match := yamlLine.FindStringSubmatch(text)
	if line, err := strconv.ParseInt(match[1], 10, 32); err == nil {
		at.line, reported = p.before+int32(line), int(line)
	}
	if mend, line, column, found := slipNear(source, reported); found {
		p.fault(place{p.before + int32(line), int32(column)}, "is not YAML: %s", mend)
		return
	}
	if found := locate(source); found != nil {
		p.fault(place{p.before + int32(found.line), int32(found.column)}, "is not YAML: %s", found.mend)
		return
	}
	message := text[len(match[0]):]
	if match[1] != "" && strings.HasPrefix(message, "did not find expected") { // its parser counts lines from 0, its scanner from 1
		at.line, reported = at.line+1, reported+1
	}
	at.column = int32(beginOf(source, reported))
	message += wordsOf(message)
	if strings.HasPrefix(message, "unknown anchor") {
		message += "; aliases are not taken: write the value out"
	}
	p.fault(at, "is not YAML: %s", message)
}

// node turns the library's node into ours, and refuses what documents do not use.
func (p *yamlParser) node(y *yaml.Node, depth int) node {
	n := node{place: place{p.before + int32(y.Line), int32(y.Column)}}
	switch {
	case y.Kind == yaml.AliasNode:
		p.fault(n.place, "is an alias (*%s); write the value out", clip(y.Value))
		return n
	case y.Anchor != "":
		p.fault(n.place, "has an anchor (&%s); leave it out", clip(y.Anchor))
		return n
	case y.Style&yaml.TaggedStyle != 0:
		p.fault(n.place, "has the tag %s; leave it out, and put text in quotes", clip(y.Tag))
		return n
	case p.tooDeep(n.place, depth):
		return n
	}
	switch y.Kind {
	case yaml.ScalarNode:
		if y.Style == 0 && isPrintQuoted(y.Value) {
			p.fault(n.place, "stands in quotation marks of print (%s); write plain ones, \"", clip(y.Value))
			return n
		}
		n.shape, n.text = scalar, y.Value
		n.class, n.quoted = classify(y)
	case yaml.SequenceNode:
		n.shape = list
		n.children = make([]child, 0, len(y.Content))
		for i, item := range y.Content {
			p.trail.enterItem(i)
			n.children = append(n.children, child{node: p.node(item, depth+1)})
			p.trail.leave()
		}
	case yaml.MappingNode:
		n.shape = mapping
		n.children = make([]child, 0, len(y.Content)/2)
		for i := 0; i+1 < len(y.Content); i += 2 {
			name, at, ok := p.name(y.Content[i])
			if !ok {
				n.partial = true
				continue
			}
			p.trail.enter(name)
			n.children = append(n.children, child{name: name, at: at, node: p.node(y.Content[i+1], depth+1)})
			p.trail.leave()
		}
		p.distinct(&n)
	default: // a document within a document: there is none
	}
	return n
}

// name reads the name of a field; names are text.
func (p *yamlParser) name(y *yaml.Node) (string, place, bool) {
	at := place{p.before + int32(y.Line), int32(y.Column)}
	problem := ""
	switch {
	case y.Kind == yaml.AliasNode || y.Anchor != "":
		problem = "has a name with an anchor or an alias; write the name out"
	case y.Kind != yaml.ScalarNode:
		problem = "has a name that is a list or a mapping; names are text"
	case y.Style&yaml.TaggedStyle != 0:
		problem = fmt.Sprintf("has a name with the tag %s; leave the tag out", clip(y.Tag))
	case y.Tag == "!!merge":
		problem = "has a merge key (<<); write the fields out"
	}
	if problem == "" {
		if kind, _ := classify(y); kind != isText {
			problem = fmt.Sprintf("has the name %s, which is not plain text; put it in quotes", clip(y.Value))
		}
	}
	if problem != "" {
		p.fault(at, "%s", problem)
		return "", at, false
	}
	return y.Value, at, true
}

// isPrintQuoted says whether a text begins and ends with quotation marks that word processors write,
// which are a part of it to YAML.
func isPrintQuoted(text string) bool {
	const marks = "“”„‘’‚«»"
	first, _ := utf8.DecodeRuneInString(text)
	last, size := utf8.DecodeLastRuneInString(text)
	return len(text) > size && strings.ContainsRune(marks, first) && strings.ContainsRune(marks, last)
}

// classify says what a scalar is, and whether it was written in quotes or as a block.
func classify(y *yaml.Node) (kind class, quoted bool) {
	if y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return isText, true
	}
	switch y.Tag {
	case "!!null":
		return isNull, false
	case "!!bool":
		return isBool, false
	case "!!int", "!!float":
		return isNumber, false
	case "!!timestamp":
		return isDate, false
	}
	switch strings.ToLower(y.Value) {
	case "yes", "no", "on", "off":
		return isWord, false
	}
	return isText, false
}
