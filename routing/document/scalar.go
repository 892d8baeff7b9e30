package document

import (
	"encoding"
	"reflect"
	"strconv"
	"strings"
)

// scalar reads a scalar node into a value of a plain type.
func (d *decoding) scalar(n *node, p *plan, v reflect.Value) {
	if n.shape != scalar {
		d.fault(n.place, "%s, where %s is wanted", n.describe(), p.form.wanted())
		return
	}
	switch p.form {
	case formOwn:
		d.own(n, v)
	case formText:
		if d.isText(n) {
			v.SetString(strings.Clone(n.text))
		}
	case formBool:
		if n.class != isBool || n.text != "true" && n.text != "false" {
			d.fault(n.place, "%s, where true or false is wanted; write it so, without quotes", n.describe())
			return
		}
		v.SetBool(n.text == "true")
	default:
		d.whole(n, p, v)
	}
}

// wanted names what a form is read from.
func (f form) wanted() string {
	switch f {
	case formBool:
		return "true or false"
	case formSigned, formUnsigned:
		return "a whole number"
	case formOwn:
		return "a single value"
	default:
		return "text"
	}
}

// isText refuses what is not certainly text to every reader of YAML.
func (d *decoding) isText(n *node) bool {
	if n.class == isText {
		return true
	}
	d.fault(n.place, "%s, where text is wanted; put it in quotes", n.describe())
	return false
}

// own lets a type read the scalar itself.
func (d *decoding) own(n *node, v reflect.Value) {
	switch target := v.Addr().Interface().(type) {
	case ScalarUnmarshaler:
		if err := target.UnmarshalScalar(strings.Clone(n.text), n.quoted); err != nil {
			d.fault(n.place, "%v", err)
		}
	case encoding.TextUnmarshaler:
		if err := target.UnmarshalText([]byte(n.text)); err != nil {
			d.fault(n.place, "%v", err)
			return
		}
		d.isText(n)
	}
}

// whole reads a whole number: plain decimal, in the range of its type.
func (d *decoding) whole(n *node, p *plan, v reflect.Value) {
	switch {
	case n.class != isNumber && n.quoted && isWhole(n.text):
		d.fault(n.place, "is text, where a whole number is wanted; write it without quotes")
		return
	case n.class != isNumber:
		d.fault(n.place, "%s, where a whole number is wanted", n.describe())
		return
	case !isWhole(n.text):
		d.fault(n.place, "%s, where a whole number is wanted; write it in plain decimal digits", n.describe())
		return
	}
	bits := p.typ.Bits()
	if p.form == formSigned {
		number, err := strconv.ParseInt(n.text, 10, bits)
		if err != nil {
			d.fault(n.place, "%s, which is out of range; write a whole number of %d to %d", n.describe(), int64(-1)<<(bits-1), int64(1)<<(bits-1)-1)
			return
		}
		v.SetInt(number)
		return
	}
	number, err := strconv.ParseUint(n.text, 10, bits)
	if err != nil {
		d.fault(n.place, "%s, which is out of range; write a whole number of 0 to %d", n.describe(), ^uint64(0)>>(64-bits))
		return
	}
	v.SetUint(number)
}

// isWhole says whether text is a whole number in plain decimal: no sign but "-", no
// leading zero, no fraction, exponent or separators. Its only spelling of zero is 0.
func isWhole(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || digits[0] == '0' && text != "0" {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}

// stringPath returns the path of the string that p points to inside v, for errors
// about a document that was read already; "" if it is not there.
func stringPath(v reflect.Value, p *string) string {
	var t trail
	if walkStrings(v, p, &t) {
		return t.String()
	}
	return ""
}

func walkStrings(v reflect.Value, p *string, t *trail) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && walkStrings(v.Elem(), p, t)
	case reflect.String:
		return v.CanAddr() && v.Addr().UnsafePointer() == reflect.ValueOf(p).UnsafePointer()
	case reflect.Slice:
		for i := range v.Len() {
			t.enterItem(i)
			if walkStrings(v.Index(i), p, t) {
				return true
			}
			t.leave()
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _ := fieldName(v.Type().Field(i))
			t.enter(name)
			if walkStrings(v.Field(i), p, t) {
				return true
			}
			t.leave()
		}
	default: // holds no text that can be pointed to
	}
	return false
}
