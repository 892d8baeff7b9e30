package document

import (
	"reflect"
	"strings"
)

// decoding reads nodes into Go values by their plans. Everything that fits is read,
// also beside faults.
type decoding struct{ parsing }

// value reads a node into v, which can be set.
func (d *decoding) value(n *node, p *plan, v reflect.Value) {
	if n.shape == broken {
		return
	}
	if n.shape == scalar && n.class == isNull {
		d.fault(n.place, "is empty (null); give it a value, or leave the field out")
		return
	}
	switch p.form {
	case formPointer:
		fresh := reflect.New(p.elem.typ)
		d.value(n, p.elem, fresh.Elem())
		v.Set(fresh)
	case formRecord:
		d.record(n, p, v)
	case formTable:
		d.table(n, p, v)
	case formList:
		d.list(n, p, v)
	default:
		d.scalar(n, p, v)
	}
}

// record reads a mapping into a struct.
func (d *decoding) record(n *node, p *plan, v reflect.Value) {
	if n.shape != mapping {
		d.fault(n.place, "%s, where a mapping is wanted; write NAME: VALUE for each of %s", n.describe(), p.names())
		return
	}
	for i := range n.children {
		c := &n.children[i]
		if c.shape == broken {
			continue
		}
		d.trail.enter(c.name)
		if at, known := p.index[c.name]; known {
			field := &p.fields[at]
			d.value(&c.node, field.plan, v.Field(field.at))
		} else {
			d.unknown(c, p)
		}
		d.trail.leave()
	}
}

// unknown refuses a field that the struct does not have.
func (d *decoding) unknown(c *child, p *plan) {
	if like := p.nearest(c.name); like != "" {
		d.fault(c.at, "unknown field %s; did you mean %q?", quote(c.name), like)
		return
	}
	d.fault(c.at, "unknown field %s; known here: %s", quote(c.name), p.names())
}

// names lists the names of a struct's fields.
func (p *plan) names() string {
	names := make([]string, 0, len(p.fields))
	for i := range p.fields {
		names = append(names, p.fields[i].name)
	}
	return strings.Join(names, ", ")
}

// table reads a mapping into a Go map.
func (d *decoding) table(n *node, p *plan, v reflect.Value) {
	switch {
	case n.shape != mapping:
		d.fault(n.place, "%s, where a mapping is wanted; write NAME: VALUE for each entry", n.describe())
		return
	case n.partial && len(n.children) == 0:
		return
	case len(n.children) == 0:
		d.fault(n.place, "has no entries; give one, or leave the field out")
		return
	}
	entries := reflect.MakeMapWithSize(p.typ, len(n.children))
	for i := range n.children {
		c := &n.children[i]
		if c.shape == broken {
			continue
		}
		d.trail.enter(c.name)
		entry := reflect.New(p.elem.typ).Elem()
		d.value(&c.node, p.elem, entry)
		entries.SetMapIndex(reflect.ValueOf(strings.Clone(c.name)).Convert(p.typ.Key()), entry)
		d.trail.leave()
	}
	v.Set(entries)
}

// list reads a list into a slice; an empty list is the nil slice.
func (d *decoding) list(n *node, p *plan, v reflect.Value) {
	if n.shape != list {
		d.fault(n.place, "%s, where a list is wanted; write [VALUE, VALUE]", n.describe())
		return
	}
	if len(n.children) == 0 {
		return
	}
	items := reflect.MakeSlice(p.typ, len(n.children), len(n.children))
	for i := range n.children {
		d.trail.enterItem(i)
		d.value(&n.children[i].node, p.elem, items.Index(i))
		d.trail.leave()
	}
	v.Set(items)
}
