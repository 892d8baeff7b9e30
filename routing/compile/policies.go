package compile

import (
	"encoding/json"
	"fmt"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// policies holds the compiled policies by ID. Tenants whose documents are alike but for
// name, hosts and epoch share one. ID 0 is the policy of tenants that never were good.
type policies struct {
	compiler *routing.PolicyCompiler

	entries   []*policyEntry
	free      []uint32
	byForm    map[string]uint32
	byText    map[string]uint32
	published store.ListEditor[routing.Policy] // by ID
}

// policyEntry is one policy, and how many tenants have it.
type policyEntry struct {
	*routing.Policy
	form    string   // what makes it this policy: the document without what is the tenant's own
	texts   []string // spellings of it that were seen, at most maxSpellings
	tenants int
}

// maxSpellings bounds how many spellings of one policy are remembered.
const maxSpellings = 4

func newPolicies(compiler *routing.PolicyCompiler) policies {
	p := policies{compiler: compiler, byForm: map[string]uint32{}, byText: map[string]uint32{}}
	p.entries = append(p.entries, &policyEntry{Policy: &routing.Policy{}, tenants: 1})
	p.published.Set(0, p.entries[0].Policy)
	return p
}

// formOf returns what makes a tenant's policy: its document without what is its own.
func formOf(t *routing.Tenant) string {
	shared := *t
	shared.Name, shared.Hosts, shared.Delegates, shared.Epoch = "", nil, nil, 0
	form, err := json.Marshal(&shared)
	if err != nil {
		panic(fmt.Sprintf("compile: a document without a JSON form: %v", err)) // it was read from one
	}
	return string(form)
}

// ofText returns the policy whose document has this text, if one was seen.
func (p *policies) ofText(rest string) (id uint32, ok bool) {
	id, ok = p.byText[rest]
	return id, ok
}

// spelled notes a text of a policy's document.
func (p *policies) spelled(id uint32, rest string) {
	entry := p.entries[id]
	if _, known := p.byText[rest]; known || len(entry.texts) >= maxSpellings {
		return
	}
	rest = strings.Clone(rest)
	entry.texts = append(entry.texts, rest)
	p.byText[rest] = id
}

// idOf returns the ID of a tenant's policy, which is compiled if it is new.
func (p *policies) idOf(t *routing.Tenant) uint32 {
	form := formOf(t)
	if id, ok := p.byForm[form]; ok {
		return id
	}
	shared := *t
	shared.Name, shared.Hosts, shared.Delegates, shared.Epoch = "", nil, nil, 0
	return p.insert(&policyEntry{Policy: p.compiler.Compile(&shared), form: form})
}

// insert gives a new policy an ID.
func (p *policies) insert(entry *policyEntry) uint32 {
	id := uint32(len(p.entries)) // each takes kilobytes: far fewer
	if n := len(p.free); n > 0 {
		id, p.free = p.free[n-1], p.free[:n-1]
		p.entries[id] = entry
	} else {
		p.entries = append(p.entries, entry)
	}
	p.byForm[entry.form] = id
	p.published.Set(id, entry.Policy)
	return id
}

// hold and release count the tenants of a policy. One without tenants is forgotten.
func (p *policies) hold(id uint32) { p.entries[id].tenants++ }

func (p *policies) release(id uint32) {
	entry := p.entries[id]
	if entry.tenants--; entry.tenants > 0 {
		return
	}
	delete(p.byForm, entry.form)
	for _, text := range entry.texts {
		delete(p.byText, text)
	}
	p.entries[id] = nil
	p.free = append(p.free, id)
	p.published.Set(id, nil)
}
