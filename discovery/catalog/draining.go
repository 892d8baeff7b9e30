package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gridrouter.io/routing"
)

// checkDraining refuses what maps anything new to a deck that is draining.
func (w *world) checkDraining(it *item) []error {
	var reasons []error
	for _, m := range mappings(it) {
		deck := w.deck(m.deck)
		if w.offline || w.restoring || deck == nil || deck.State != routing.DeckDraining {
			continue
		}
		reasons = append(reasons, refusal(it, m.path, "%s, but deck %q is draining and takes nothing new; name another deck, or set its state to active first",
			m.what, m.deck))
	}
	return reasons
}

// mapping is a place in a given document that maps something to a deck which the stored
// form did not map to it.
type mapping struct{ path, deck, what string }

// mappings lists what a given document maps anew. Rules are compared by name: a renamed
// rule hashes anew, so that all of it is new.
func mappings(it *item) []mapping {
	switch doc := it.given.(type) {
	case *routing.Deck:
		was, _ := it.was.(*routing.Deck)
		if doc.Standby != "" && (was == nil || was.Standby != doc.Standby) {
			return []mapping{{"standby", doc.Standby, "names a new standby"}}
		}
	case *routing.Pin:
		was, _ := it.was.(*routing.Pin)
		if was == nil || was.Deck != doc.Deck {
			return []mapping{{"deck", doc.Deck, "is a new pin"}}
		}
	case *routing.Tenant:
		var found []mapping
		before := rulesByName(it.wasTenant())
		for i := range doc.Rules {
			found = append(found, ruleMappings(before[doc.Rules[i].Name], &doc.Rules[i], fmt.Sprintf("rules[%d]", i))...)
		}
		return found
	}
	return nil
}

func rulesByName(tenant *routing.Tenant) map[string]*routing.Rule {
	rules := map[string]*routing.Rule{}
	if tenant != nil {
		for i := range tenant.Rules {
			rules[tenant.Rules[i].Name] = &tenant.Rules[i]
		}
	}
	return rules
}

// ruleMappings lists what a rule maps that it did not map before; was is nil for a new rule.
func ruleMappings(was, rule *routing.Rule, path string) []mapping {
	var found []mapping
	add := func(field, deck, what string) {
		found = append(found, mapping{path + field, deck, what})
	}
	if was == nil {
		was = &routing.Rule{}
	}
	wider := !narrower(was.Match, rule.Match)
	otherKey := was.Key != nil && rule.Key != nil && *was.Key != *rule.Key
	if rule.Deck != "" && (was.Deck != rule.Deck || wider) {
		add(".deck", rule.Deck, reason(was.Deck == rule.Deck, "the rule matches more requests", "is a new deck for this rule"))
	}
	mapped := spansOf(was.Ranges)
	for i := range rule.Ranges {
		rng := &rule.Ranges[i]
		if !mapped.cover(rng) || wider || otherKey {
			add(fmt.Sprintf(".ranges[%d]", i), rng.Deck, fmt.Sprintf("maps %d to %d, which were not all mapped to it before", rng.From, rng.To))
		}
	}
	for _, deck := range sortedKeys(rule.Split) {
		if rule.Split[deck] > 0 && (shareRaised(was.Split, rule.Split, deck) || wider || otherKey) {
			add(".split."+deck, deck, "gives a greater weight or share than before")
		}
	}
	if deck := missingDeck(rule); deck != "" && (missingDeck(was) != deck || wider || otherKey) {
		add(".missing", deck, "is a new deck for requests without the key")
	}
	return found
}

func reason(first bool, yes, no string) string {
	if first {
		return yes
	}
	return no
}

// shareRaised says whether a deck's weight in a split, or its part of the whole, has grown.
// Taking weight from the others gives their keys to those that remain.
func shareRaised(was, now map[string]int, deck string) bool {
	return now[deck] > was[deck] || now[deck]*total(was) > was[deck]*total(now)
}

func total(split map[string]int) int {
	sum := 0
	for _, weight := range split {
		sum += weight
	}
	return sum
}

// spans are what a rule's ranges map to each deck, joined and in order.
type spans map[string][]routing.Range

func spansOf(ranges []routing.Range) spans {
	joined := spans{}
	for _, r := range slices.SortedFunc(slices.Values(ranges), func(a, b routing.Range) int { return cmp.Compare(a.From, b.From) }) {
		list := joined[r.Deck]
		if last := len(list) - 1; last >= 0 && list[last].To >= r.From-1 {
			list[last].To = max(list[last].To, r.To)
			continue
		}
		joined[r.Deck] = append(list, r)
	}
	return joined
}

// cover says whether all of a range is mapped to its deck.
func (s spans) cover(r *routing.Range) bool {
	list := s[r.Deck]
	after, _ := slices.BinarySearchFunc(list, r.From, func(span routing.Range, from int64) int {
		if span.From <= from {
			return -1
		}
		return 1
	})
	return after > 0 && list[after-1].To >= r.To
}

// narrower says whether now matches no request that was did not match. A rule without
// match matches all.
func narrower(was, now *routing.Match) bool {
	if was == nil {
		return true
	}
	if now == nil {
		now = &routing.Match{}
	}
	path := was.Path == "" || now.Path == was.Path || strings.HasPrefix(now.Path, strings.TrimSuffix(was.Path, "/")+"/")
	methods := len(was.Methods) == 0 || (len(now.Methods) > 0 && len(without(now.Methods, was.Methods)) == 0)
	return path && methods && holdsAll(was.Headers, now.Headers) && holdsAll(was.Cookies, now.Cookies) && holdsAll(was.Query, now.Query)
}

// holdsAll says whether now keeps every condition of was.
func holdsAll(was, now map[string]string) bool {
	for name, value := range was {
		if got, kept := now[name]; !kept || got != value {
			return false
		}
	}
	return true
}
