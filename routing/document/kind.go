package document

import (
	"reflect"
	"slices"
	"strings"

	"gridrouter.io/routing"
)

// Kind describes one kind of document. All its functions may be called concurrently.
type Kind struct {
	// Name is the value of the field kind: "Deck".
	Name string
	// Folder is where stored values of the kind live, relative to docs/: "decks".
	Folder string
	// New returns a pointer to a zero struct. Its fields bear json names; it may have a method
	// Validate() error, whose joined errors may have FieldPath() string.
	New func() any
	// Key returns a document's key within its folder ("acme", "acme/100%2F86"), or "" if
	// the fields that name it cannot be used. The document may be otherwise bad.
	Key func(doc any) string
	// Hosts returns the fields that hold hosts, to be brought into canonical form. nil: none.
	Hosts func(doc any) []*string
}

// knownKind is a kind with the plan of its struct.
type knownKind struct {
	Kind
	plan *plan
}

func routingKinds() []Kind {
	name := func(name string) string {
		if routing.CheckName(name) != nil {
			return ""
		}
		return name
	}
	return []Kind{
		{
			Name: routing.KindDeck, Folder: "decks",
			New:   func() any { return new(routing.Deck) },
			Key:   func(doc any) string { return name(doc.(*routing.Deck).Name) },
			Hosts: func(doc any) []*string { return []*string{&doc.(*routing.Deck).Domain} },
		},
		{
			Name: routing.KindTenant, Folder: "tenants",
			New: func() any { return new(routing.Tenant) },
			Key: func(doc any) string { return name(doc.(*routing.Tenant).Name) },
			Hosts: func(doc any) []*string {
				tenant := doc.(*routing.Tenant)
				hosts := make([]*string, 0, len(tenant.Hosts)+len(tenant.Delegates))
				for i := range tenant.Hosts {
					hosts = append(hosts, &tenant.Hosts[i])
				}
				for i := range tenant.Delegates {
					hosts = append(hosts, &tenant.Delegates[i])
				}
				return hosts
			},
		},
		{
			Name: routing.KindPin, Folder: "pins",
			New: func() any { return new(routing.Pin) },
			Key: func(doc any) string {
				pin := doc.(*routing.Pin)
				if name(pin.Tenant) == "" || pin.Key == "" || len(pin.Key) > routing.MaxKeyBytes {
					return ""
				}
				return pin.Tenant + "/" + routing.EscapeKey(pin.Key)
			},
		},
	}
}

// NewReader returns a reader that knows the kinds Deck, Tenant and Pin, and extra. It
// panics on a kind whose struct documents cannot have, or whose name or folder is taken:
// a mistake of the programmer.
func NewReader(extra ...Kind) *Reader {
	r := &Reader{kinds: map[string]*knownKind{}, folders: map[string]*knownKind{}}
	for _, kind := range append(routingKinds(), extra...) {
		if r.kinds[kind.Name] != nil || r.folders[kind.Folder] != nil {
			panic("document: the kind " + kind.Name + " is known already")
		}
		known := &knownKind{kind, newPlan(reflect.TypeOf(kind.New()).Elem())}
		r.kinds[kind.Name], r.folders[kind.Folder] = known, known
		r.names = append(r.names, kind.Name)
	}
	slices.Sort(r.names)
	return r
}

// kindOf returns the kind that a document says it is of, or nil. It refuses a document
// whose first field is another.
func (r *Reader) kindOf(p *parsing, root *node) *knownKind {
	if root.shape == broken {
		return nil
	}
	if root.shape != mapping || len(root.children) == 0 {
		p.fault(root.place, "%s, where a document is wanted; begin with kind: %s", emptyOr(root), r.oneOf())
		return nil
	}
	field := root.field("kind")
	if field == nil {
		p.fault(root.place, "has no kind; begin with kind: %s", r.oneOf())
		return nil
	}
	p.trail.enter("kind")
	defer p.trail.leave()
	if field != &root.children[0] {
		p.fault(field.at, "is not the first field; move it to the front")
	}
	if field.shape == broken {
		return nil
	}
	kind := r.kinds[field.text]
	if field.shape != scalar || field.class != isText || kind == nil {
		if like := Nearest(field.text, r.names); like != "" && field.shape == scalar {
			p.fault(field.place, "unknown kind %s; did you mean %q?", quote(field.text), like)
		} else {
			p.fault(field.place, "unknown kind %s; write %s", quote(field.text), r.oneOf())
		}
		return nil
	}
	return kind
}

func emptyOr(n *node) string {
	if n.shape == mapping {
		return "is empty"
	}
	return n.describe()
}

// oneOf lists the names of the known kinds: "Deck, Pin or Tenant".
func (r *Reader) oneOf() string {
	last := len(r.names) - 1
	return strings.Join(r.names[:last], ", ") + " or " + r.names[last]
}
