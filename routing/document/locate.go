package document

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The library tells of an error's line, often that of what the error is in, and never of a column.
// What most errors come from can be found without a grammar: what is opened and never closed, what
// closes something else, what is no escape, and a line at an indentation that no line above it has.

// located is a mistake and its place in a text. Lines and columns, which are of characters, are
// counted from 1.
type located struct {
	line, column int
	mend         string
}

// locator walks through a text as far as is needed to know what is quoted and what is open.
type locator struct {
	text         string
	at           int // offset
	line, column int
	begins       bool // a value may begin here
	open         []located
	found        *located
}

// locate finds the first mistake of a text; nil: none of the kinds above.
func locate(text string) *located {
	l := &locator{text: text, line: 1, column: 1, begins: true}
	for l.at < len(l.text) && l.found == nil {
		l.step()
	}
	if l.found == nil && len(l.open) > 0 {
		last := l.open[len(l.open)-1]
		l.fault(last, "the %s that is opened here is never closed", last.mend)
	}
	if l.found == nil {
		l.found = strayIndentation(text)
	}
	return l.found
}

func (l *locator) here() located { return located{line: l.line, column: l.column} }

func (l *locator) fault(at located, format string, args ...any) {
	if l.found == nil {
		l.found = &located{at.line, at.column, fmt.Sprintf(format, args...)}
	}
}

// next takes one character.
func (l *locator) next() (r rune) {
	r, size := utf8.DecodeRuneInString(l.text[l.at:])
	l.at += size
	if l.column++; r == '\n' {
		l.line, l.column = l.line+1, 1
	}
	return r
}

func (l *locator) peek() byte {
	if l.at < len(l.text) {
		return l.text[l.at]
	}
	return '\n'
}

// step takes one character, or all that is in quotes or a comment.
func (l *locator) step() {
	at := l.here()
	blankBefore := l.at == 0 || strings.IndexByte(" \t\n", l.text[l.at-1]) >= 0
	r := l.next()
	flow := len(l.open) > 0
	switch {
	case r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f:
		l.fault(at, "this is the control character %U; leave it out, or write it as an escape in double quotes", r)
	case r == '#' && blankBefore:
		for l.at < len(l.text) && l.peek() != '\n' {
			l.next()
		}
	case (r == '"' || r == '\'') && l.begins:
		l.quoted(at, byte(r))
	case (r == '[' || r == '{') && (l.begins || flow):
		l.open = append(l.open, located{at.line, at.column, string(r)})
		l.begins = true
	case (r == ']' || r == '}') && flow:
		l.closes(at, r)
	case r == ',' && flow, r == '\n':
		l.begins = true
	case (r == ':' || r == '-' || r == '?') && strings.IndexByte(" \t\r\n", l.peek()) >= 0, r == ':' && flow:
		l.begins = l.begins && r == '-' || r != '-'
	case r == ' ' || r == '\t' || r == '\r':
	default:
		l.begins = false
	}
}

func (l *locator) closes(at located, r rune) {
	last := l.open[len(l.open)-1]
	if last.mend == "[" && r == '}' || last.mend == "{" && r == ']' {
		l.fault(at, "%c closes the %s of line %d, column %d", r, last.mend, last.line, last.column)
		return
	}
	l.open = l.open[:len(l.open)-1]
	l.begins = false
}

// quoted takes all up to the quotation mark that closes, and looks at what is behind it.
func (l *locator) quoted(opened located, mark byte) {
	l.begins = false
	for l.at < len(l.text) {
		at := l.here()
		switch b := byte(l.next()); {
		case b == '\\' && mark == '"':
			if escape := l.next(); !strings.ContainsRune("0abt\tnvfre \"/\\N_LPxuU\n\r", escape) {
				l.fault(at, `\%c is no escape; write \\ for a backslash, or put the text in single quotes`, escape)
				return
			}
		case b == mark && mark == '\'' && l.peek() == '\'':
			l.next()
		case b == mark:
			l.behindQuotes(opened)
			return
		}
	}
	l.fault(opened, "the quotation mark %c that is opened here is never closed", mark)
}

// behindQuotes looks at what follows a text in quotes, which must be a mark of its own.
func (l *locator) behindQuotes(opened located) {
	for l.at < len(l.text) && (l.peek() == ' ' || len(l.open) > 0 && strings.IndexByte("\t\r\n", l.peek()) >= 0) {
		l.next()
	}
	switch {
	case strings.IndexByte(",:]}#\r\n\t", l.peek()) >= 0:
	case len(l.open) > 0:
		l.fault(l.here(), "a comma is missing before this")
	default:
		l.fault(l.here(), "the text in quotes of line %d, column %d has ended before this; a quotation mark within it is written \\\" in double quotes, '' in single ones", opened.line, opened.column)
	}
}

// strayIndentation finds the first line that goes back to an indentation that no line above it has.
// Texts of several lines are indented more than what they belong to, and do no harm.
func strayIndentation(text string) *located {
	levels, before := []int{0}, 0 // before: where the content of the line before begins
	for number, line := range strings.Split(text, "\n") {
		content := strings.TrimLeft(line, " ")
		if content == "" || content[0] == '#' || content[0] == '\r' {
			continue
		}
		level := len(line) - len(content)
		for len(levels) > 1 && level < levels[len(levels)-1] {
			levels = levels[:len(levels)-1]
		}
		if top := levels[len(levels)-1]; level > top {
			if level < before {
				return &located{number + 1, level + 1, fmt.Sprintf("this line is indented by %d, and no line above it that it may belong to is", level)}
			}
			levels = append(levels, level)
		}
		for strings.HasPrefix(content, "- ") { // what follows is at a level of its own
			rest := strings.TrimLeft(content[1:], " ")
			level += len(content) - len(rest)
			content = rest
			levels = append(levels, level)
		}
		before = level
	}
	return nil
}
