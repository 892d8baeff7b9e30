package document

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The library says of a text that is no YAML what its grammar wanted, and the line alone. People
// make few mistakes again and again; here these are found, with their place and the mend.

// slip is one mistake that people make. Its first group is where it is.
type slip struct {
	found *regexp.Regexp
	mend  func(text string) string
}

// value is what may stand before a value that is not in quotes.
const value = `(?:^|[\[{,]|: |- )\s*`

var slips = []slip{
	{regexp.MustCompile(`^ *(\t)`), func(string) string { return "a tab indents this line; YAML takes spaces alone" }},
	{regexp.MustCompile(value + `(\*[^\s,\]}]*)`), func(text string) string {
		return fmt.Sprintf("what begins with * is an alias to YAML, and aliases are not taken; put text in quotes: %q", text)
	}},
	{regexp.MustCompile(value + "([@`%][^\\s,\\]}]*)"), func(text string) string {
		return fmt.Sprintf("no value may begin with %c; put it in quotes: %q", text[0], text)
	}},
	{regexp.MustCompile(value + `([“”„‘’‚«»][^,\]}]*)`), func(string) string {
		return `this is a quotation mark of print; write the plain one, "`
	}},
	{regexp.MustCompile(`^[ -]*[^\s:"'\[{]+: ([^"'\[{\s][^"'\[{]*: .*)$`), func(text string) string {
		return fmt.Sprintf(`text that holds ": " goes into quotes: %q`, text)
	}},
}

// findSlip looks for a mistake in some lines, the first of which has the number first. It returns
// the mistake's line, and its column in characters, counted from 1.
func findSlip(lines []string, first int) (mend string, line, column int, found bool) {
	for i, text := range lines {
		plain := blankQuoted(text)
		for _, s := range slips {
			if at := s.found.FindStringSubmatchIndex(plain); at != nil {
				return s.mend(strings.TrimRight(text[at[2]:at[3]], " \r")), first + i, 1 + utf8.RuneCountInString(text[:at[2]]), true
			}
		}
	}
	return "", 0, 0, false
}

// blankQuoted puts blanks in place of what stands in quotes, and of a comment; offsets stay.
func blankQuoted(line string) string {
	out := []byte(line)
	var quote byte
	for i := 0; i < len(out); i++ {
		b := out[i]
		switch {
		case quote != 0:
			if b == quote {
				quote = 0
			}
			if b != quote {
				out[i] = '.'
			}
		case b == '"' || b == '\'':
			quote = b
		case b == '#' && (i == 0 || out[i-1] == ' '):
			for ; i < len(out); i++ {
				out[i] = ' '
			}
		}
	}
	return string(out)
}

// slipNear looks for a mistake at a line, and then in those around it: the library often tells of
// the one before, or after.
func slipNear(text string, line int) (mend string, at, column int, found bool) {
	lines := strings.Split(text, "\n")
	for _, n := range []int{line, line + 1, line - 1} {
		if n >= 1 && n <= len(lines) {
			if mend, at, column, found = findSlip(lines[n-1:n], n); found {
				return mend, at, column, true
			}
		}
	}
	return "", 0, 0, false
}

// wordsOf says more of some of the library's messages.
func wordsOf(message string) string {
	switch {
	case strings.HasSuffix(message, "expected key"):
		return ": this line, or one of the mapping that begins here, is no \"name: value\", or is indented otherwise than the others"
	case strings.HasSuffix(message, "expected '-' indicator"):
		return ": a line of the list that begins here is indented as its items are, and is none"
	case strings.HasSuffix(message, "expected ':'"):
		return ": a name is followed by a colon and a space"
	case strings.HasPrefix(message, "mapping values are not allowed"):
		return ": this line is indented more than the one that it goes with, or text that holds a colon and a space needs quotes"
	}
	return ""
}

// beginOf is the column of the first character of a line that is no blank.
func beginOf(text string, line int) int {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return 1
	}
	content := lines[line-1]
	return 1 + len(content) - len(strings.TrimLeft(content, " \t"))
}
