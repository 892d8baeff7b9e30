package compile

import (
	"errors"
	"slices"
	"strings"

	"gridrouter.io/routing"
)

// reader reads stored documents.
type reader struct {
	decode   Decoder
	policies *policies // by whose texts tenants are known again
}

// deck reads a stored deck.
func (r *reader) deck(key string, value []byte) (*routing.Deck, error) {
	document, err := r.decode(key, value)
	deck, ok := document.(*routing.Deck)
	if err == nil && !ok {
		err = errors.New("the value is no deck")
	}
	return deck, err
}

// pin reads a stored pin.
func (r *reader) pin(change *Change) (*routing.Pin, error) {
	document, err := r.decode(change.Key, change.Value)
	pin, ok := document.(*routing.Pin)
	if err == nil && !ok {
		err = errors.New("the value is no pin")
	}
	return pin, err
}

// tenantForm is what a stored tenant says.
type tenantForm struct {
	hosts, delegates []string
	epoch            uint64
	policy           uint32          // if known is true
	known            bool            // its policy is in force already
	document         *routing.Tenant // nil if known by its text
	text             string          // of the policy, to know it again; empty: not in the usual form
}

// tenant reads a stored tenant. A text of which the policy is known is only cut.
func (r *reader) tenant(change *Change) (form tenantForm, err error) {
	name := strings.TrimPrefix(change.Key, "tenants/")
	cut, usual := cutTenant(change.Value)
	usual = usual && cut.name == name
	if usual {
		if id, ok := r.policies.ofText(cut.rest); ok {
			return tenantForm{hosts: cut.hosts, epoch: cut.epoch, policy: id, known: true}, nil
		}
	}
	document, err := r.decode(change.Key, change.Value)
	tenant, ok := document.(*routing.Tenant)
	if err == nil && !ok {
		err = errors.New("the value is no tenant")
	}
	if err != nil {
		if tenant != nil { // its hosts, if they parse, answer tenant_invalid
			form.hosts = slices.DeleteFunc(slices.Clone(tenant.Hosts), func(h string) bool { return routing.CheckHost(h, true) != nil })
			slices.Sort(form.hosts)
			form.hosts = slices.Compact(form.hosts)
		}
		return form, err
	}
	form = tenantForm{hosts: tenant.Hosts, delegates: tenant.Delegates, epoch: max(tenant.Epoch, 1), document: tenant}
	if usual && slices.Equal(cut.hosts, tenant.Hosts) && cut.epoch == form.epoch && len(tenant.Delegates) == 0 {
		form.text = cut.rest
	}
	return form, nil
}

// rules returns the rules of a form.
func (r *reader) rules(form *tenantForm) *routing.Tenant {
	if form.known {
		return r.policies.entries[form.policy].Document()
	}
	return form.document
}
