package document

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonParser makes nodes of RFC 8259 text. It is our own because nodes need places,
// repeated names must be seen, unpaired surrogates must not turn into something else, and
// a million stored documents are read at a start. It stops at the first fault of syntax.
type jsonParser struct {
	parsing
	text      string
	at        int
	line      int32 // the current line
	lineStart int   // the offset that column 1 of it has
	stopped   bool  // by a fault of syntax
	start     int   // the offset of the current document
	firstLine int32 // the line that the current document begins in
	firstAt   int   // the offset of that line
	before    int   // the characters in that line before the document
}

// newJSONParser returns a parser at the beginning of text; call document next.
func newJSONParser(text string) *jsonParser {
	return &jsonParser{text: text, line: 1}
}

// document reads the next document; its faults go to f.
func (p *jsonParser) document(f *faults) node {
	p.skip()
	p.parsing = parsing{faults: f}
	if p.firstAt != p.lineStart {
		p.start, p.before = p.lineStart, 0
	}
	p.before += utf8.RuneCountInString(p.text[p.start:p.at])
	p.start, p.firstLine, p.firstAt = p.at, p.line, p.lineStart
	return p.value(1)
}

// finish turns the columns of the current document's faults from bytes into characters.
func (p *jsonParser) finish() {
	for _, e := range p.faults.list {
		if e.Line == 0 {
			continue
		}
		from, lineAt, column := p.start, p.firstAt, p.before+1
		for n := e.Line - int(p.firstLine); n > 0; n-- {
			from += strings.IndexByte(p.text[from:], '\n') + 1
			lineAt, column = from, 1
		}
		e.Column = column + utf8.RuneCountInString(p.text[from:lineAt+e.Column-1])
	}
}

// here is the place of the next byte; its column counts bytes.
func (p *jsonParser) here() place { return place{p.line, int32(p.at-p.lineStart) + 1} }

// stop reports a fault of syntax.
func (p *jsonParser) stop(message string) {
	if !p.stopped {
		p.stopped = true
		p.fault(p.here(), "is not JSON: %s", message)
	}
}

// skip passes over white space.
func (p *jsonParser) skip() {
	for ; p.at < len(p.text); p.at++ {
		switch p.text[p.at] {
		case '\n':
			p.line++
			p.lineStart = p.at + 1
		case ' ', '\t', '\r':
		default:
			return
		}
	}
}

// more says whether anything but white space is left.
func (p *jsonParser) more() bool {
	p.skip()
	return p.at < len(p.text)
}

// take passes over the byte b, if it is next after white space.
func (p *jsonParser) take(b byte) bool {
	if p.more() && p.text[p.at] == b {
		p.at++
		return true
	}
	return false
}

// value reads one value.
func (p *jsonParser) value(depth int) node {
	if !p.more() {
		p.stop("ends where a value is wanted")
		return node{}
	}
	n := node{place: p.here(), shape: scalar}
	if p.at-p.start > MaxDocumentBytes {
		p.stopped = true
		p.fault(n.place, "%s", tooLarge())
		return node{}
	}
	switch b := p.text[p.at]; {
	case b == '{' || b == '[':
		if p.tooDeep(n.place, depth) {
			p.stopped = true
			return node{}
		}
		if b == '{' {
			p.object(&n, depth)
		} else {
			p.array(&n, depth)
		}
	case b == '"':
		n.text, n.quoted = p.str(), true
	case b == '-' || b >= '0' && b <= '9':
		n.text, n.class = p.number(), isNumber
	default:
		n.text, n.class = p.word()
	}
	return n
}

func (p *jsonParser) object(n *node, depth int) {
	n.shape = mapping
	p.at++
	if p.take('}') {
		return
	}
	for !p.stopped {
		if !p.more() || p.text[p.at] != '"' {
			p.stop("a name in quotes is wanted here")
			return
		}
		at := p.here()
		name := p.str()
		if !p.stopped && !p.take(':') {
			p.stop("a colon is wanted here")
		}
		if p.stopped {
			return
		}
		p.trail.enter(name)
		n.children = append(n.children, child{name: name, at: at, node: p.value(depth + 1)})
		p.trail.leave()
		if p.next('}') {
			break
		}
	}
	p.distinct(n)
}

func (p *jsonParser) array(n *node, depth int) {
	n.shape = list
	p.at++
	if p.take(']') {
		return
	}
	for i := 0; !p.stopped; i++ {
		p.trail.enterItem(i)
		n.children = append(n.children, child{node: p.value(depth + 1)})
		p.trail.leave()
		if p.next(']') {
			return
		}
	}
}

// next passes over the comma between two members, or over the end.
func (p *jsonParser) next(end byte) (ended bool) {
	switch {
	case p.stopped || p.take(end):
		return true
	case !p.take(','):
		p.stop("a comma or " + string(rune(end)) + " is wanted here")
		return true
	}
	return false
}

// word reads true, false or null.
func (p *jsonParser) word() (string, class) {
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(p.text[p.at:], word) {
			p.at += len(word)
			if word == "null" {
				return word, isNull
			}
			return word, isBool
		}
	}
	p.stop("a value is wanted here; text stands in double quotes")
	return "", isText
}

// number reads a number in any of JSON's forms.
func (p *jsonParser) number() string {
	start := p.at
	if p.text[p.at] == '-' {
		p.at++
	}
	ok := true
	if p.at < len(p.text) && p.text[p.at] == '0' {
		p.at++
	} else {
		ok = p.digits()
	}
	if ok && p.at < len(p.text) && p.text[p.at] == '.' {
		p.at++
		ok = p.digits()
	}
	if ok && p.at < len(p.text) && (p.text[p.at] == 'e' || p.text[p.at] == 'E') {
		p.at++
		if p.at < len(p.text) && (p.text[p.at] == '+' || p.text[p.at] == '-') {
			p.at++
		}
		ok = p.digits()
	}
	if !ok {
		p.stop("a number lacks a digit here")
	}
	return p.text[start:p.at]
}

// digits passes over digits, and says whether there were any.
func (p *jsonParser) digits() bool {
	start := p.at
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > start
}

// str reads a string. Without escapes it is a part of the parsed text.
func (p *jsonParser) str() string {
	p.at++
	start := p.at
	for ; p.at < len(p.text); p.at++ {
		switch b := p.text[p.at]; {
		case b == '"':
			p.at++
			return p.text[start : p.at-1]
		case b == '\\':
			return p.escaped(p.text[start:p.at])
		case b < ' ':
			p.stop("a control character stands in a string; write it as an escape")
			return ""
		}
	}
	p.stop("a string has no end")
	return ""
}

// escaped goes on reading a string from its first escape; begun is what stands before it.
func (p *jsonParser) escaped(begun string) string {
	out := []byte(begun)
	for p.at < len(p.text) {
		b := p.text[p.at]
		switch {
		case b == '"':
			p.at++
			return string(out)
		case b < ' ':
			p.stop("a control character stands in a string; write it as an escape")
			return ""
		case b != '\\':
			out = append(out, b)
			p.at++
			continue
		}
		r, ok := p.escape()
		if !ok {
			return ""
		}
		out = utf8.AppendRune(out, r)
	}
	p.stop("a string has no end")
	return ""
}

// escape reads one escape, or the two of a surrogate pair.
func (p *jsonParser) escape() (rune, bool) {
	const plain, meaning = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if p.at+1 < len(p.text) {
		if i := strings.IndexByte(plain, p.text[p.at+1]); i >= 0 {
			p.at += 2
			return rune(meaning[i]), true
		}
	}
	r, ok := p.unicodeEscape()
	if ok && utf16.IsSurrogate(r) {
		var low rune
		if low, ok = p.unicodeEscape(); ok {
			r = utf16.DecodeRune(r, low)
			ok = r != utf8.RuneError
		}
	}
	if !ok {
		p.stop("an escape has no meaning, or is half of a pair")
	}
	return r, ok
}

// unicodeEscape reads \uXXXX.
func (p *jsonParser) unicodeEscape() (rune, bool) {
	if !strings.HasPrefix(p.text[p.at:], `\u`) || p.at+6 > len(p.text) {
		return 0, false
	}
	code, err := strconv.ParseUint(p.text[p.at+2:p.at+6], 16, 16)
	if err != nil {
		return 0, false
	}
	p.at += 6
	return rune(code), true
}
