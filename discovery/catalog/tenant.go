package catalog

import (
	"fmt"
	"slices"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// draft is a document on its way from its stored form to the wanted one. A tenant with
// more hosts than fit one transaction gets there in several, each a valid document.
type draft struct {
	item   *item
	value  []byte       // what the transactions planned so far leave in etcd; nil: nothing
	tenant *tenantDraft // nil for other kinds
}

// tenantDraft is the part of a draft that tenants add.
type tenantDraft struct {
	was    *routing.Tenant // nil: not stored, or not readable
	target *routing.Tenant // nil: to be deleted
	held   map[string]bool // the hosts of the next form
	epoch  uint64          // the epoch of the next form
	raised bool            // the epoch is raised already: once a call
}

func newDraft(it *item) *draft {
	d := &draft{item: it, value: it.value}
	if folder, _ := folderOf(it.key); folder == FolderTenants {
		d.tenant = newTenantDraft(it)
	}
	return d
}

func newTenantDraft(it *item) *tenantDraft {
	t := &tenantDraft{was: it.wasTenant(), target: tenantOf(it.final()), held: map[string]bool{}, epoch: max(it.epoch, 1)}
	if it.given == nil {
		t.epoch = max(t.epoch, it.seen) // a pin raises it from there
	}
	for _, host := range hostsOf(t.was) {
		t.held[host] = true
	}
	if it.given == nil {
		return t
	}
	if rewound := it.seen > it.epoch; rewound { // some routers have another form in force, of that epoch
		t.epoch, t.raised = it.seen+1, true
	}
	t.epoch = max(t.epoch, t.target.Epoch)
	if t.raised {
		return t
	}
	if it.verbatim && t.epoch == t.target.Epoch {
		t.raised = true // and by its pins neither
		return t
	}
	returning := it.mod == 0 && it.epoch > 0
	unread := it.mod != 0 && (it.wasErr != nil || t.was == nil)
	if returning || unread || (t.was != nil && !sameRules(t.was, t.target)) {
		t.epoch++
		t.raised = true
	}
	return t
}

// form is the document as the next transaction writes it; nil: it is deleted. While
// hosts are still on their way it lists those that the tenant holds by then, and only
// the delegates that lie under one of them.
func (t *tenantDraft) form() *routing.Tenant {
	base := t.target
	if base == nil {
		if len(t.held) == 0 {
			return nil
		}
		base = t.was
	}
	form := *base
	form.Epoch = t.epoch
	form.Hosts = nil
	for _, host := range slices.Concat(base.Hosts, without(hostsOf(t.was), base.Hosts)) {
		if t.held[host] {
			form.Hosts = append(form.Hosts, host)
		}
	}
	if len(form.Hosts) == len(base.Hosts) && slices.Equal(form.Hosts, base.Hosts) {
		return &form
	}
	form.Delegates = nil
	for _, host := range base.Delegates {
		under := slices.ContainsFunc(routing.WildcardsAbove(host), func(above string) bool { return t.held[above] })
		if under && !t.held[host] {
			form.Delegates = append(form.Delegates, host)
		}
	}
	return &form
}

// next is the stored form that the next transaction leaves; nil: none.
func (d *draft) next() ([]byte, error) {
	switch {
	case d.tenant != nil:
		form := d.tenant.form()
		if form == nil {
			return nil, nil
		}
		if d.item.verbatim && form.Epoch == d.tenant.target.Epoch && slices.Equal(form.Hosts, d.tenant.target.Hosts) {
			return d.item.json, nil
		}
		value, err := document.Encode(form)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.item.key, err)
		}
		return value, nil
	case d.item.remove:
		return nil, nil
	}
	return d.item.json, nil
}

// estimate is about how many bytes writing the document takes, with its change record.
func (d *draft) estimate() int {
	after := max(len(d.item.json), len(d.value)) + 32
	if d.item.remove {
		after = 0
	}
	if after > MaxDocumentBytes+1024 { // the record holds no form that large
		return len(forRecord(d.value)) + after + recordOverhead
	}
	return len(forRecord(d.value)) + 2*after
}
