package document

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
)

// form says how nodes are read into a Go type.
type form uint8

const (
	formText     form = iota // a string
	formOwn                  // a type that reads scalars itself: UnmarshalScalar or UnmarshalText
	formBool                 //
	formSigned               // a signed whole number
	formUnsigned             //
	formPointer              // to elem
	formList                 // a slice of elem
	formTable                // a map of string to elem
	formRecord               // a struct with fields
)

// ScalarUnmarshaler is implemented by types of documents that read a scalar themselves.
// quoted says that the text was written in quotes.
type ScalarUnmarshaler interface {
	UnmarshalScalar(text string, quoted bool) error
}

// plan says how nodes are read into one Go type. It is made once and then only read.
type plan struct {
	typ    reflect.Type
	form   form
	elem   *plan
	fields []fieldPlan
	index  map[string]int // into fields
}

// fieldPlan is one field of a struct.
type fieldPlan struct {
	name string // as documents write it
	at   int    // the field's number in the struct
	*plan
}

var (
	scalarUnmarshaler = reflect.TypeFor[ScalarUnmarshaler]()
	textUnmarshaler   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// newPlan makes the plan of a type and of all it holds. It panics on a type that
// documents cannot have: that is a mistake of the programmer.
func newPlan(typ reflect.Type) *plan {
	p := &plan{typ: typ}
	pointer := reflect.PointerTo(typ)
	switch {
	case pointer.Implements(scalarUnmarshaler), pointer.Implements(textUnmarshaler):
		p.form = formOwn
		return p
	}
	switch typ.Kind() {
	case reflect.String:
		p.form = formText
	case reflect.Bool:
		p.form = formBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.form = formSigned
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		p.form = formUnsigned
	case reflect.Pointer:
		p.form, p.elem = formPointer, newPlan(typ.Elem())
	case reflect.Slice:
		p.form, p.elem = formList, newPlan(typ.Elem())
	case reflect.Map:
		if typ.Key().Kind() != reflect.String {
			panic("document: the names of a mapping are text, not " + typ.Key().String())
		}
		p.form, p.elem = formTable, newPlan(typ.Elem())
	case reflect.Struct:
		p.form = formRecord
		p.addFields()
	default:
		panic("document: there is no form for the type " + typ.String())
	}
	return p
}

func (p *plan) addFields() {
	p.index = make(map[string]int, p.typ.NumField())
	for i := range p.typ.NumField() {
		field := p.typ.Field(i)
		name, _ := fieldName(field)
		if name == "" {
			panic(fmt.Sprintf("document: field %s of %s has no json name", field.Name, p.typ))
		}
		p.index[name] = len(p.fields)
		p.fields = append(p.fields, fieldPlan{name: name, at: i, plan: newPlan(field.Type)})
	}
}

// fieldName returns the name that documents write a field by, and whether a zero value
// is left out of the stored form.
func fieldName(field reflect.StructField) (name string, omitEmpty bool) {
	name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name, options == "omitempty"
}

// nearest returns the known name that is most like a name, or "" if none is much like it.
func (p *plan) nearest(name string) string {
	names := make([]string, 0, len(p.fields))
	for i := range p.fields {
		names = append(names, p.fields[i].name)
	}
	return Nearest(name, names)
}

// Nearest returns the one of names that takes the fewest changes to become name, at
// most one change for three characters, without regard to case; "" if none is so near.
// It is for errors that ask "did you mean".
func Nearest(name string, names []string) string {
	best, least := "", 0
	if len(name) > maxQuoted {
		return ""
	}
	for _, known := range names {
		d := distance(strings.ToLower(name), strings.ToLower(known))
		if d <= (max(len(name), len(known))+2)/3 && (best == "" || d < least) {
			best, least = known, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
