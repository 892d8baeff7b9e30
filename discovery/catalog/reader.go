package catalog

import (
	"fmt"

	"gridrouter.io/gslb"
	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// NewReader returns a reader that knows every kind of document: Deck, Tenant, Pin and
// Gslb. Like any [document.Reader] it may be used by many goroutines at once.
func NewReader() *document.Reader {
	return document.NewReader(document.Kind{
		Name:   gslb.Kind,
		Folder: FolderGslb,
		New:    func() any { return new(gslb.Document) },
		Key:    func(doc any) string { return doc.(*gslb.Document).Name },
		Hosts:  func(doc any) []*string { return []*string{&doc.(*gslb.Document).Name} },
	})
}

// reference is a place in a document that names a deck.
type reference struct{ path, deck string }

// references lists every deck that a document names, in the order of its fields.
func references(doc any) []reference {
	var found []reference
	add := func(deck, format string, args ...any) {
		if deck != "" {
			found = append(found, reference{fmt.Sprintf(format, args...), deck})
		}
	}
	switch d := doc.(type) {
	case *routing.Deck:
		add(d.Standby, "standby")
	case *routing.Pin:
		add(d.Deck, "deck")
	case *routing.Tenant:
		for i := range d.Rules {
			rule := &d.Rules[i]
			add(rule.Deck, "rules[%d].deck", i)
			for j := range rule.Ranges {
				add(rule.Ranges[j].Deck, "rules[%d].ranges[%d].deck", i, j)
			}
			for _, deck := range sortedKeys(rule.Split) {
				add(deck, "rules[%d].split.%s", i, deck)
			}
			add(missingDeck(rule), "rules[%d].missing", i)
		}
	}
	return found
}

// missingDeck is the deck that a rule sends requests without a key to, if any.
func missingDeck(rule *routing.Rule) string {
	if rule.Missing == routing.MissingReject || rule.Missing == routing.MissingNext {
		return ""
	}
	return rule.Missing
}
