package document

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Reader reads documents of the kinds it knows. It may be used concurrently.
type Reader struct {
	kinds   map[string]*knownKind // by name
	folders map[string]*knownKind // by folder
	names   []string              // of the kinds, sorted
}

// Parsed is one document of a file, good or bad.
type Parsed struct {
	// Kind is what the document says it is; empty if it is of no known kind.
	Kind string
	// Name is the document's key within its kind's folder; empty if unreadable.
	Name string
	// Key is where the document is stored, relative to docs/: "tenants/acme". Empty if unreadable.
	Key string
	// Document is what could be read, a pointer to the kind's struct; nil if Kind is empty.
	// It is complete and valid only if Err is nil.
	Document any
	// Err joins all that is wrong with the document, as *[Error], by place.
	Err error
	// Origin says where the document begins: "file:line".
	Origin string
	// JSON is the stored form; nil if Err is not nil.
	JSON []byte
	// Revision is that of the stored form which the document was made from, as "gridctl get"
	// writes it into one (the field revision); 0: it does not say. It is no part of JSON.
	Revision int64
	// Raw is a bad document as JSON, faults and all: a value that Decode refuses under Key
	// as this was refused, so that it can take the way of all others. nil if Err is nil, and
	// if the text has no fields.
	Raw []byte
}

// ReadFile reads all documents of a file. It reads JSON (one document, or several one
// after another) if the name ends in ".json", or if it ends in neither ".yaml" nor ".yml"
// and the text begins like a JSON object; else YAML, whose documents are separated by
// lines that begin with "---". Documents without content are passed over.
//
// What is wrong with a document is in its Err, and leaves the others alone. The error
// returned is for text that cannot be split into documents; documents before that fault
// are returned beside it.
func (r *Reader) ReadFile(name string, data []byte) ([]Parsed, error) {
	if !utf8.Valid(data) {
		return nil, &Error{File: name, Message: "is not UTF-8 text; save it as UTF-8"}
	}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	if isJSONFile(name, text) {
		return r.readJSON(name, text)
	}
	return r.readYAML(name, text)
}

// isJSONFile says whether a file is read as JSON.
func isJSONFile(name, text string) bool {
	switch filepath.Ext(name) {
	case ".json":
		return true
	case ".yaml", ".yml":
		return false
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(text, " \t\r\n"), "{")
	rest = strings.TrimLeft(rest, " \t\r\n")
	return ok && rest != "" && (rest[0] == '"' || rest[0] == '}')
}

func (r *Reader) readYAML(name, text string) ([]Parsed, error) {
	chunks := splitYAML(text)
	if len(chunks) > MaxDocuments {
		return nil, tooManyDocuments(name)
	}
	all := make([]Parsed, 0, len(chunks))
	for _, c := range chunks {
		f := &faults{file: name}
		if len(c.text) > MaxDocumentBytes {
			f.add(place{int32(c.line), 1}, "", tooLarge())
			all = append(all, Parsed{Err: f.join(), Origin: origin(name, c.line)})
			continue
		}
		root := parseYAML(c, f)
		if root.line == 0 {
			root.line = int32(c.line)
		}
		all = append(all, r.parsed(name, &root, f))
	}
	return all, nil
}

func (r *Reader) readJSON(name, text string) ([]Parsed, error) {
	var all []Parsed
	p := newJSONParser(text)
	for p.more() {
		if len(all) == MaxDocuments {
			return nil, tooManyDocuments(name)
		}
		f := &faults{file: name}
		root := p.document(f)
		if p.stopped {
			p.finish()
			return all, f.join()
		}
		if p.at-p.start > MaxDocumentBytes {
			f.add(root.place, "", tooLarge())
		}
		all = append(all, r.parsed(name, &root, f))
		p.finish()
	}
	return all, nil
}

func tooManyDocuments(name string) error {
	return &Error{File: name, Message: fmt.Sprintf("holds more than %d documents; spread them over several files", MaxDocuments)}
}

func tooLarge() string {
	return fmt.Sprintf("has more than %d bytes, the limit of a document; split it, or use pins", MaxDocumentBytes)
}

func origin(name string, line int) string { return fmt.Sprintf("%s:%d", name, line) }

// parsed makes what ReadFile returns of a document's nodes.
func (r *Reader) parsed(file string, root *node, f *faults) Parsed {
	out := Parsed{Origin: origin(file, int(root.line)), Revision: takeRevision(root, f)}
	kind, doc := r.read(root, f)
	if kind != nil {
		out.Kind, out.Document = kind.Name, doc
		if out.Name = kind.Key(doc); out.Name != "" {
			out.Key = kind.Folder + "/" + out.Name
		}
	}
	if f.clean() {
		stored, err := Encode(doc)
		switch {
		case err != nil:
			f.add(root.place, "", err.Error())
		case len(stored) > MaxDocumentBytes:
			f.add(root.place, "", "in its stored form "+tooLarge())
		default:
			out.JSON = stored
		}
	}
	if out.Err = f.join(); out.Err != nil && root.shape == mapping {
		out.Raw = appendNode(nil, root)
	}
	return out
}

// RevisionField is the field of a document that says which stored form it was made from.
const RevisionField = "revision"

// takeRevision takes the revision out of a document's fields.
func takeRevision(root *node, f *faults) (revision int64) {
	at := -1
	for i := range root.children {
		if root.shape == mapping && root.children[i].name == RevisionField {
			at = i
		}
	}
	if at < 0 {
		return 0
	}
	field := root.children[at]
	root.children = slices.Delete(root.children, at, at+1)
	revision, err := strconv.ParseInt(field.text, 10, 64)
	if field.shape != scalar || field.class != isNumber || err != nil || revision < 1 {
		f.add(field.place, RevisionField, "is no revision; leave it as gridctl get wrote it, or leave it out")
		return 0
	}
	return revision
}

// Decode reads a stored value under its key, relative to docs/: "tenants/acme". It is the
// Decoder that package routing/compile asks for. The document's kind and name must agree with
// the key. Beside an error it returns what could be read, if the value is of the key's kind: of
// a bad tenant, Hosts and Delegates hold canonical hosts, and "" where one does not read.
func (r *Reader) Decode(key string, value []byte) (doc any, err error) {
	f := &faults{file: key}
	defer contain(&doc, &err, key)
	folder, name, _ := strings.Cut(key, "/")
	want := r.folders[folder]
	switch {
	case want == nil || name == "":
		return nil, &Error{File: key, Message: "is not the key of a document; take it out"}
	case len(value) > MaxDocumentBytes:
		return nil, &Error{File: key, Message: tooLarge()}
	case !utf8.Valid(value):
		return nil, &Error{File: key, Message: "is not UTF-8 text; write it again"}
	}
	p := newJSONParser(string(value))
	root := p.document(f)
	if !p.stopped && p.more() {
		p.stop("something follows the document")
	}
	if p.stopped {
		p.finish()
		return nil, f.join()
	}
	kind, doc := r.read(&root, f)
	switch {
	case kind == nil:
	case kind != want:
		f.add(root.place, "kind", fmt.Sprintf("is %s, but the value is stored as a %s; write it again under its own key", kind.Name, want.Name))
		doc = nil
	default:
		checkKey(kind, doc, name, &root, f)
	}
	if f.clean() {
		return doc, nil
	}
	p.finish()
	return doc, f.join()
}

// checkKey refuses a document that is stored under the key of another.
func checkKey(kind *knownKind, doc any, stored string, root *node, f *faults) {
	switch own := kind.Key(doc); own {
	case stored:
	case "":
		if f.clean() {
			f.add(root.place, "", "does not say what its key says; write it again under its own key")
		}
	default:
		f.add(root.place, "", fmt.Sprintf("belongs under the key %s; delete it here, and write it again there", quote(kind.Folder+"/"+own)))
	}
}

// read turns nodes into a document with canonical hosts, and validates it. Both results
// are nil if the kind is unknown.
func (r *Reader) read(root *node, f *faults) (*knownKind, any) {
	d := decoding{parsing{faults: f}}
	kind := r.kindOf(&d.parsing, root)
	if kind == nil {
		return nil, nil
	}
	doc := kind.New()
	d.record(root, kind.plan, reflect.ValueOf(doc).Elem())
	bad := canonicaliseHosts(kind, doc, root, f)
	if v, ok := doc.(interface{ Validate() error }); ok {
		known := len(f.list)
		eachFault(v.Validate(), func(path, message string) {
			if !f.touches(known, path) {
				f.add(root.find(path), clip(path), message)
			}
		})
	}
	for _, host := range bad {
		*host = ""
	}
	return kind, doc
}

// canonicaliseHosts brings a document's hosts into canonical form, and returns those
// that are not hosts at all.
func canonicaliseHosts(kind *knownKind, doc any, root *node, f *faults) (bad []*string) {
	if kind.Hosts == nil {
		return nil
	}
	for _, host := range kind.Hosts(doc) {
		if *host == "" {
			continue // Validate says what is missing
		}
		canonical, err := CanonicalHost(*host)
		if err != nil {
			path := stringPath(reflect.ValueOf(doc), host)
			f.add(root.find(path), path, err.Error())
			bad = append(bad, host)
			continue
		}
		*host = canonical
	}
	return bad
}

// eachFault calls report for every error that err joins.
func eachFault(err error, report func(path, message string)) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			eachFault(one, report)
		}
		return
	}
	path, message := "", err.Error()
	var placed interface{ FieldPath() string }
	if errors.As(err, &placed) {
		path = placed.FieldPath()
		message = strings.TrimPrefix(message, path+": ")
	}
	report(path, message)
}
