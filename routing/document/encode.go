package document

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encode returns the stored form of a document: JSON in one line, fields in the order of
// the struct (kind first), names of mappings sorted, zero values left out where their field
// is "omitempty". Equal documents give equal bytes. doc is a pointer to a document; what
// is refused is text that is not UTF-8, which JSON cannot hold.
func Encode(doc any) ([]byte, error) {
	return appendValue(make([]byte, 0, 256), reflect.ValueOf(doc))
}

// appendValue appends the JSON form of v. Types with a form of their own come first.
func appendValue(out []byte, v reflect.Value) ([]byte, error) {
	if v.Kind() != reflect.Pointer && v.CanInterface() {
		switch own := v.Interface().(type) {
		case json.Marshaler:
			form, err := own.MarshalJSON()
			return append(out, form...), err
		case encoding.TextMarshaler:
			text, err := own.MarshalText()
			if err != nil {
				return out, err
			}
			return appendString(out, string(text))
		}
	}
	switch v.Kind() {
	case reflect.String:
		return appendString(out, v.String())
	case reflect.Bool:
		return strconv.AppendBool(out, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(out, v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.AppendUint(out, v.Uint(), 10), nil
	case reflect.Pointer:
		return appendValue(out, v.Elem())
	case reflect.Slice:
		return appendList(out, v)
	case reflect.Map:
		return appendTable(out, v)
	case reflect.Struct:
		return appendRecord(out, v)
	default:
		return out, fmt.Errorf("there is no stored form for the type %s", v.Type())
	}
}

func appendRecord(out []byte, v reflect.Value) ([]byte, error) {
	out = append(out, '{')
	first := true
	for i := range v.NumField() {
		name, omitEmpty := fieldName(v.Type().Field(i))
		field := v.Field(i)
		if omitEmpty && isEmpty(field) || field.Kind() == reflect.Pointer && field.IsNil() {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(out, '"')
		out = append(out, name...)
		out = append(out, '"', ':')
		var err error
		if out, err = appendValue(out, field); err != nil {
			return out, fmt.Errorf("%s: %w", name, err)
		}
	}
	return append(out, '}'), nil
}

// isEmpty says whether "omitempty" leaves a value out.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}

func appendList(out []byte, v reflect.Value) ([]byte, error) {
	out = append(out, '[')
	for i := range v.Len() {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendValue(out, v.Index(i)); err != nil {
			return out, fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return append(out, ']'), nil
}

func appendTable(out []byte, v reflect.Value) ([]byte, error) {
	entries := make(map[string]reflect.Value, v.Len())
	for name, value := range v.Seq2() {
		entries[name.String()] = value
	}
	out = append(out, '{')
	for i, name := range slices.Sorted(maps.Keys(entries)) {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendString(out, name); err != nil {
			return out, err
		}
		out = append(out, ':')
		if out, err = appendValue(out, entries[name]); err != nil {
			return out, fmt.Errorf("%s: %w", quote(name), err)
		}
	}
	return append(out, '}'), nil
}

// appendString appends text with the escapes that JSON demands, and no others.
func appendString(out []byte, text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return out, fmt.Errorf("%s is not UTF-8 text, which a document cannot hold", quote(text))
	}
	return appendText(out, text), nil
}

// appendText is appendString for text that is known to be UTF-8.
func appendText(out []byte, text string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := range len(text) {
		switch b := text[i]; {
		case b == '"' || b == '\\':
			out = append(out, '\\', b)
		case b < ' ':
			out = append(out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		default:
			out = append(out, b)
		}
	}
	return append(out, '"')
}

// appendNode appends a node as JSON that is refused if the node is: what JSON cannot
// say stands as null, which no document holds.
func appendNode(out []byte, n *node) []byte {
	switch {
	case n.shape == mapping:
		out = append(out, '{')
		for i := range n.children {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendText(out, n.children[i].name)
			out = appendNode(append(out, ':'), &n.children[i].node)
		}
		if n.partial {
			if len(n.children) > 0 {
				out = append(out, ',')
			}
			out = append(out, `"":null`...)
		}
		return append(out, '}')
	case n.shape == list:
		out = append(out, '[')
		for i := range n.children {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendNode(out, &n.children[i].node)
		}
		return append(out, ']')
	case n.shape == scalar && n.class == isText:
		return appendText(out, n.text)
	case n.shape == scalar && (n.class == isNumber || n.class == isBool) && json.Valid([]byte(n.text)):
		return append(out, n.text...)
	}
	return append(out, "null"...)
}
