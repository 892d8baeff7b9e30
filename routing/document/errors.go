package document

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of what is read. Each is named by the error that refuses more.
const (
	// MaxDepth bounds how deep mappings and lists may nest, the document itself counted.
	MaxDepth = 32
	// MaxDocumentBytes bounds the text of one document, and its stored form.
	MaxDocumentBytes = 1 << 20
	// MaxDocuments bounds the documents in one file.
	MaxDocuments = 100_000
	// MaxErrors bounds the errors that are listed for one document; the rest are counted.
	MaxErrors = 20
)

// Error is one fault of a document, with its place.
type Error struct {
	// File is the file's name, or the key of a stored value. Empty: unknown.
	File string
	// Line and Column are counted from 1, columns in characters. 0: unknown.
	Line, Column int
	// Path leads to the field: "rules[2].split.orders-east-9". Empty: the document as a whole.
	Path string
	// Message says what is wrong, and the mend.
	Message string
}

// Error returns "file:line:column: path: message" without what is unknown.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		if e.File != "" {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%d:%d", e.Line, e.Column)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// FieldPath returns Path.
func (e *Error) FieldPath() string { return e.Path }

// place is where a node stands in its file: from 1; columns in characters for YAML,
// in bytes for JSON until the errors are finished.
type place struct{ line, column int32 }

// contain turns a panic while a document is read into an error of that document: a fault of
// ours that one document brings out reaches no other.
func contain(doc *any, err *error, key string) {
	if p := recover(); p != nil {
		*doc, *err = nil, &Error{File: key, Message: fmt.Sprintf("brings out a fault of gridrouter (%v); write it in another way, and please report this", p)}
	}
}

// faults gathers the errors of one document, in the order they were found.
type faults struct {
	file string
	list []*Error
	more int
}

func (f *faults) add(at place, path, message string) {
	if len(f.list) >= MaxErrors {
		f.more++
		return
	}
	f.list = append(f.list, &Error{File: f.file, Line: int(at.line), Column: int(at.column), Path: path, Message: clipTo(message, maxMessage)})
}

// clean says that there are no faults.
func (f *faults) clean() bool { return len(f.list) == 0 }

// touches says whether one of the first n faults is at path, above it or below it, so
// that a later complaint about path would only repeat it.
func (f *faults) touches(n int, path string) bool {
	return slices.ContainsFunc(f.list[:n], func(e *Error) bool {
		return e.Path != "" && path != "" && (within(e.Path, path) || within(path, e.Path))
	})
}

// within says whether path is outer or lies below it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// join returns the faults as one error, by place; nil if there are none.
func (f *faults) join() error {
	if f.clean() {
		return nil
	}
	slices.SortStableFunc(f.list, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	all := make([]error, 0, len(f.list)+1)
	for _, e := range f.list {
		all = append(all, e)
	}
	if f.more > 0 {
		all = append(all, &Error{File: f.file, Message: fmt.Sprintf("and %d more", f.more)})
	}
	return errors.Join(all...)
}

// trail is the way from the document to the node being read.
type trail []step

// step is the name of a field, or, if that is empty and index is not negative, an index.
type step struct {
	name  string
	index int
}

func (t *trail) enter(name string) { *t = append(*t, step{name: name, index: -1}) }
func (t *trail) enterItem(i int)   { *t = append(*t, step{index: i}) }
func (t *trail) leave()            { *t = (*t)[:len(*t)-1] }

// String returns the trail as a path: "rules[2].split.orders-east-9".
func (t trail) String() string {
	var b strings.Builder
	for _, s := range t {
		if s.index >= 0 {
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.index))
			b.WriteByte(']')
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(clip(s.name))
	}
	return b.String()
}

const (
	// maxQuoted bounds how much of a document's own text an error repeats, in bytes.
	maxQuoted = 80
	// maxMessage bounds a message, which others may have made of a document's text.
	maxMessage = 400
)

// clip shortens text from a document for an error, and keeps control characters out.
func clip(text string) string { return clipTo(text, maxQuoted) }

func clipTo(text string, most int) string {
	cut := len(text) > most
	if cut {
		text = strings.ToValidUTF8(text[:most], "")
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return '\uFFFD'
		}
		return r
	}, text)
	if cut {
		text += "..."
	}
	return text
}

// quote is clip in quotes.
func quote(text string) string { return strconv.Quote(clip(text)) }
