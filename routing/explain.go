package routing

import (
	"fmt"
	"strings"
)

// Explanation says how a decision came about, for people and programs. It is made by
// the code that makes the decision.
type Explanation struct {
	Method   string `json:"method,omitempty"`
	Host     string `json:"host"`
	Path     string `json:"path,omitempty"`
	Tenant   string `json:"tenant,omitempty"`
	Epoch    uint64 `json:"epoch,omitempty"`
	Revision int64  `json:"revision"`
	Hash     string `json:"hash,omitempty"`
	// Rules are the rules that were considered, in order.
	Rules []RuleTrace `json:"rules,omitempty"`
	// Rule is the one that ended the search.
	Rule      string `json:"rule,omitempty"`
	KeySource string `json:"keySource,omitempty"`
	Key       string `json:"key,omitempty"`
	// Slot is that of the key, 0 to 16,383, if a split decided; else -1.
	Slot int `json:"slot"`
	Via  Via `json:"via,omitempty"`
	// Mapped is the deck that the rule names, Deck the one that serves; they differ while a
	// standby serves.
	Mapped string `json:"mapped,omitempty"`
	Deck   string `json:"deck,omitempty"`
	Domain string `json:"domain,omitempty"`
	Fault  Fault  `json:"fault,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// RuleTrace says what became of one rule.
type RuleTrace struct {
	Name string `json:"name"`
	// Result is "decided", "passed over", "refused" or "waits".
	Result string `json:"result"`
	// Why says it in words.
	Why string `json:"why"`
}

// tracer is told of every step of a decision.
type tracer struct {
	rules  []RuleTrace
	source string
	slot   int
}

func (t *tracer) rule(rule *compiledRule, d *Decision, ended bool) {
	step := RuleTrace{Name: rule.name, Result: "passed over", Why: d.Reason}
	if !ended {
		t.slot = -1
	} else {
		t.source = rule.key.label
		switch {
		case d.PinWanted:
			step.Result, step.Why = "waits", "the key's pin is read from etcd on demand"
		case d.Fault != FaultNone:
			step.Result, step.Why = "refused", d.Reason
		default:
			step.Result, step.Why = "decided", decidedWhy(d, t)
		}
	}
	if rule.key.kind != keyNone {
		step.Why += " (key: " + rule.key.label + ")"
	}
	t.rules = append(t.rules, step)
}

func decidedWhy(d *Decision, t *tracer) string {
	why := "it maps every request it matches to " + d.Mapped.Name
	switch d.Via {
	case ViaPin:
		why = "the key is pinned to " + d.Mapped.Name
	case ViaRange:
		why = "the key lies in a range of " + d.Mapped.Name
	case ViaSplit:
		why = fmt.Sprintf("the key's slot %d belongs to %s", t.slot, d.Mapped.Name)
	case ViaMissing:
		why = "the key is absent or empty, which goes to " + d.Mapped.Name
	case ViaDeck, ViaNone:
	}
	if d.Deck != d.Mapped {
		why += ", which is down; its standby " + d.Deck.Name + " serves"
	}
	return why
}

// Explain says which deck owns the request, and why. It runs the code of [Table.Decide].
// Where the decision waits for a pin that is read on demand it says so, and ends in
// pin_unreadable, as it would with nobody to read it.
func (t *Table) Explain(r *Request) Explanation { return t.explain(r, nil) }

// ExplainPinned is [Table.Explain] with a pin that somebody has looked for.
func (t *Table) ExplainPinned(r *Request, pin Pinned) Explanation { return t.explain(r, &pin) }

func (t *Table) explain(r *Request, pin *Pinned) Explanation {
	trace := tracer{slot: -1}
	d := t.decide(r, pin, &trace)
	if d.PinWanted {
		d = d.refuse(FaultPinUnreadable, "the rule's pins are read from etcd on demand, and nobody has read this key's")
	}
	e := Explanation{
		Method: string(r.Method), Host: string(r.Host), Path: string(r.Path),
		Tenant: d.Tenant, Epoch: d.Epoch, Revision: t.parts.Revision, Hash: t.Hash(),
		Rules: trace.rules, Rule: d.Rule, Slot: -1, Via: d.Via, Key: string(d.Key), Fault: d.Fault, Reason: d.Reason,
	}
	if d.Rule != "" {
		e.KeySource, e.Slot = trace.source, trace.slot
	}
	if d.Mapped != nil {
		e.Mapped = d.Mapped.Name
	}
	if d.Deck != nil {
		e.Deck, e.Domain = d.Deck.Name, d.Deck.Domain
	}
	return e
}

// Text returns the explanation as people read it, several lines with a final newline.
func (e Explanation) Text() string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", label, fmt.Sprintf(format, args...))
	}
	line("request", "%s %s%s", e.Method, e.Host, e.Path)
	if e.Tenant != "" {
		line("tenant", "%s (epoch %d)", e.Tenant, e.Epoch)
	}
	for i, rule := range e.Rules {
		label := ""
		if i == 0 {
			label = "rules"
		}
		line(label, "%-14s %-12s %s", rule.Name, rule.Result, rule.Why)
	}
	if e.Key != "" {
		line("key", "%q from %s", e.Key, e.KeySource)
	}
	if e.Slot >= 0 {
		line("slot", "%d of %d", e.Slot, Slots)
	}
	switch {
	case e.Fault != FaultNone:
		line("fault", "%s: %s", e.Fault, e.Reason)
	case e.Mapped != e.Deck:
		line("deck", "%s (%s), standing by for %s, which is down", e.Deck, e.Domain, e.Mapped)
	default:
		line("deck", "%s (%s)", e.Deck, e.Domain)
	}
	line("table", "revision %d, hash %s", e.Revision, e.Hash)
	return b.String()
}
