package compile

import (
	"slices"
	"strings"

	"gridrouter.io/routing"
)

// problems are what is wrong with the stored documents and with the source, and where a person finds
// each document.
type problems struct {
	byKey   map[string][]routing.Problem // by document key
	faults  []routing.Problem            // of the source, as told last
	origin  string                       // of documents that have none of their own
	origins map[string]string            // of those that have one, by key
	changed bool                         // since they were listed last
	listed  []routing.Problem
}

func newProblems() problems {
	return problems{byKey: map[string][]routing.Problem{}, origins: map[string]string{}}
}

// add notes what is wrong with a stored document.
func (p *problems) add(key, code, message string, revision int64) {
	p.changed = true
	p.byKey[key] = append(p.byKey[key], routing.Problem{Key: key, Code: code, Message: message, Origin: p.originOf(key), Revision: revision})
}

// clear takes back all that was noted of a document.
func (p *problems) clear(key string) {
	if _, ok := p.byKey[key]; ok {
		delete(p.byKey, key)
		p.changed = true
	}
}

// clearCode takes back what was noted of a document with one code.
func (p *problems) clearCode(key, code string) {
	list, ok := p.byKey[key]
	if !ok {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(list), func(p routing.Problem) bool { return p.Code == code })
	if len(kept) == len(list) {
		return
	}
	p.changed = true
	if p.byKey[key] = kept; len(kept) == 0 {
		delete(p.byKey, key)
	}
}

// has says whether a document has a problem of a code.
func (p *problems) has(key, code string) bool {
	return slices.ContainsFunc(p.byKey[key], func(p routing.Problem) bool { return p.Code == code })
}

// takeFaults takes over what an update says of its source.
func (p *problems) takeFaults(u *Update) {
	if !slices.Equal(p.faults, u.Faults) {
		p.changed = true
	}
	p.faults, p.origin = u.Faults, u.Origin
}

// originOf returns where a person finds a document.
func (p *problems) originOf(key string) string {
	if origin, ok := p.origins[key]; ok {
		return origin
	}
	return p.origin
}

// list returns all problems by key, with those that are kept elsewhere. It does so anew only if they
// changed.
func (p *problems) list(elsewhere ...[]routing.Problem) []routing.Problem {
	if !p.changed {
		return p.listed
	}
	p.changed = false
	var all []routing.Problem
	for _, list := range p.byKey {
		all = append(all, list...)
	}
	for _, list := range elsewhere {
		all = append(all, list...)
	}
	all = append(all, p.faults...)
	slices.SortStableFunc(all, func(a, b routing.Problem) int {
		if order := strings.Compare(a.Key, b.Key); order != 0 {
			return order
		}
		if order := strings.Compare(a.Code, b.Code); order != 0 {
			return order
		}
		return strings.Compare(a.Message, b.Message)
	})
	p.listed = all
	return all
}
