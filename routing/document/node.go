package document

import (
	"fmt"
	"strings"
)

// shape says what a node is.
type shape uint8

const (
	// broken is a node that was refused already: nothing more is said about it.
	broken shape = iota
	scalar
	mapping
	list
)

// class says what a scalar is, as its text was written.
type class uint8

const (
	isText   class = iota
	isNumber       // of any form
	isBool
	isNull
	isWord // yes, no, on, off: text to some readers, true or false to others
	isDate
)

// node is a part of a parsed document, the same for YAML and JSON.
type node struct {
	shape  shape
	class  class
	quoted bool // a text that was written in quotes
	// partial: the mapping has fields whose names were refused and that are not here
	partial bool
	place
	text     string
	children []child // the fields of a mapping, the items of a list
}

// child is a field of a mapping, or an item of a list, whose name is empty.
type child struct {
	name string
	at   place // of the name
	node
}

// describe says what the node is, for errors.
func (n *node) describe() string {
	switch {
	case n.shape == mapping:
		return "is a mapping"
	case n.shape == list:
		return "is a list"
	case n.class == isNumber:
		return "is the number " + clip(n.text)
	case n.class == isBool:
		return "is " + clip(n.text)
	case n.class == isNull:
		return "is empty (null)"
	case n.class == isWord:
		return "is the word " + clip(n.text) + ", which some readers take for true or false"
	case n.class == isDate:
		return "is a date"
	}
	return "is text"
}

// field returns the child of a mapping with that name, or nil.
func (n *node) field(name string) *child {
	for i := range n.children {
		if n.shape == mapping && n.children[i].name == name {
			return &n.children[i]
		}
	}
	return nil
}

// parsing is the state that the two parsers share: where they are, and what is wrong.
type parsing struct {
	trail  trail
	faults *faults
}

// fault records an error at the node that the trail leads to.
func (p *parsing) fault(at place, format string, args ...any) {
	p.faults.add(at, p.trail.String(), fmt.Sprintf(format, args...))
}

// tooDeep refuses a node that nests too deep, and says whether it did.
func (p *parsing) tooDeep(at place, depth int) bool {
	if depth <= MaxDepth {
		return false
	}
	p.fault(at, "nests deeper than %d levels; no document needs that", MaxDepth)
	return true
}

// manyFields is the number of fields from which on repeated ones are looked for by a map.
const manyFields = 16

// distinct refuses fields that stand twice in a mapping; the first stays.
func (p *parsing) distinct(n *node) {
	if len(n.children) < manyFields {
		for i := 1; i < len(n.children); i++ {
			for j := range i {
				if n.children[i].name == n.children[j].name {
					p.repeated(&n.children[i], n.children[j].at)
					break
				}
			}
		}
		return
	}
	first := make(map[string]place, len(n.children))
	for i := range n.children {
		c := &n.children[i]
		if at, twice := first[c.name]; twice {
			p.repeated(c, at)
			continue
		}
		first[c.name] = c.at
	}
}

func (p *parsing) repeated(c *child, first place) {
	p.trail.enter(c.name)
	p.fault(c.at, "is given twice, first in line %d; keep one", first.line)
	p.trail.leave()
	c.shape = broken
}

// find returns the place of the node that a path leads to, or of the last one that
// exists on the way to it. Names may hold dots: the longest that fits is taken.
func (n *node) find(path string) place {
	at := n.place
	for path != "" {
		next, rest := n.step(path)
		if next == nil {
			return at
		}
		n, path = &next.node, rest
		at = next.place
		if path == "" && next.name != "" {
			at = next.at
		}
	}
	return at
}

// step returns the child that a path begins with, and the rest of the path.
func (n *node) step(path string) (*child, string) {
	if index, rest, ok := cutIndex(path); ok && n.shape == list {
		if index < len(n.children) {
			return &n.children[index], strings.TrimPrefix(rest, ".")
		}
		return nil, ""
	}
	var best *child
	for i := range n.children {
		c := &n.children[i]
		if n.shape == mapping && within(path, c.name) && (best == nil || len(c.name) > len(best.name)) {
			best = c
		}
	}
	if best == nil {
		return nil, ""
	}
	return best, strings.TrimPrefix(path[len(best.name):], ".")
}

// cutIndex cuts "[12]" off the front of a path.
func cutIndex(path string) (index int, rest string, ok bool) {
	if !strings.HasPrefix(path, "[") {
		return 0, path, false
	}
	digits, rest, ok := strings.Cut(path[1:], "]")
	if !ok || digits == "" || len(digits) > 9 {
		return 0, path, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, path, false
		}
		index = index*10 + int(digits[i]-'0')
	}
	return index, rest, true
}
