package catalog_test

import (
	"testing"
)

const draining = "state: draining"

func TestNothingNewIsMappedToADrainingDeck(t *testing.T) {
	g := newGrid(t)
	rule := "key: {header: x}, pins: true, ranges: [{from: 10, to: 20, deck: old}, {from: 21, to: 30, deck: old}], split: {old: 50, new: 50}, missing: old"
	g.apply(deck("old") + deck("new") + deck("third", "standby: old") + tenant("acme", "a.example", rule) + tenant("globex", "b.example", "match: {path: /x}, deck: old"))
	g.apply(pin("acme", "kept", "old"))
	g.apply(deck("old", draining))

	refused := func(text, path string) {
		t.Helper()
		g.refuses(text, path, `deck "old" is draining and takes nothing new`)
	}
	accepted := func(text string) {
		t.Helper()
		g.plan(text)
	}
	acme := func(rule string) string { return tenant("acme", "a.example", rule) }
	globex := func(rule string) string { return tenant("globex", "b.example", rule) }

	accepted(acme(rule) + pin("acme", "kept", "old") + deck("third", "standby: old"))
	// A deck name absent before.
	refused(tenant("fresh", "c.example", "deck: old"), "rules[0].deck")
	refused(tenant("fresh", "c.example", "key: {header: x}, split: {old: 1}"), "rules[0].split.old")
	refused(deck("new", "standby: old"), "standby")
	refused(acme("deck: old"), "rules[0].deck")
	// A wider range; narrower ones, and the same ones joined, are not new.
	refused(acme("key: {header: x}, pins: true, ranges: [{from: 10, to: 31, deck: old}]"), "rules[0].ranges[0]")
	refused(acme("key: {header: x}, pins: true, ranges: [{from: 9, to: 12, deck: old}]"), "rules[0].ranges[0]")
	accepted(acme("key: {header: x}, pins: true, ranges: [{from: 10, to: 30, deck: old}]"))
	accepted(acme("key: {header: x}, pins: true, ranges: [{from: 11, to: 12, deck: old}, {from: 13, to: 99, deck: new}]"))
	// A higher weight, or a greater part of the whole.
	refused(acme("key: {header: x}, pins: true, split: {old: 51, new: 50}"), "rules[0].split.old")
	refused(acme("key: {header: x}, pins: true, split: {old: 51, new: 500}"), "rules[0].split.old")
	refused(acme("key: {header: x}, pins: true, split: {old: 50, new: 49}"), "rules[0].split.old")
	accepted(acme("key: {header: x}, pins: true, split: {old: 50, new: 50, third: 10}"))
	accepted(acme("key: {header: x}, pins: true, split: {old: 0, new: 1}"))
	// A new pin, or one that pointed elsewhere.
	refused(pin("acme", "fresh", "old"), "deck")
	// What the rule is for.
	refused(acme("key: {header: y}, pins: true, split: {old: 50, new: 50}"), "rules[0].split.old")
	accepted(acme("match: {path: /x}, key: {header: x}, pins: true, split: {old: 50, new: 50}"))
	refused(globex("deck: old"), "rules[0].deck")
	refused(globex("match: {path: /y}, deck: old"), "rules[0].deck")
	refused(globex("match: {path: /xy}, deck: old"), "rules[0].deck")
	accepted(globex("match: {path: /x/y, methods: [GET]}, deck: old"))
	// Who stays may stay while others come and go.
	accepted(acme("key: {header: x}, pins: true, ranges: [{from: 10, to: 20, deck: old}], missing: old"))
	refused(globex("match: {path: /x}, key: {header: x}, split: {new: 1}, missing: old"), "rules[0].missing")
}

func TestTheStateThatCountsIsTheOneAfterwards(t *testing.T) {
	g := newGrid(t)
	g.apply(deck("old") + deck("new") + tenant("acme", "a.example", "deck: new"))
	g.refuses(deck("old", draining)+tenant("acme", "a.example", "deck: old"), `deck "old" is draining`)
	g.apply(deck("old", draining))
	g.apply(deck("old") + tenant("acme", "a.example", "deck: old"))
}

func TestADeckThatBeginsToDrainMeanwhileConflicts(t *testing.T) {
	g := newGrid(t)
	g.apply(deck("old") + deck("new") + tenant("acme", "a.example", "key: {header: x}, pins: true, split: {old: 1, new: 1}"))
	moved := g.plan(tenant("acme", "a.example", "deck: old"))
	pinned := g.plan(pin("acme", "1", "old"))
	standby := g.plan(deck("new", "standby: old"))
	g.apply(deck("old", draining))
	_, err := g.Apply(g.ctx, moved, nil)
	g.wantConflict(err, "deck old was changed")
	_, err = g.Apply(g.ctx, pinned, nil)
	g.wantConflict(err, "deck old was changed")
	_, err = g.Apply(g.ctx, standby, nil)
	g.wantConflict(err, "deck old was changed")
}
