package lab_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// form says where a tenant's requests go: those with a pinned key to the pin's deck, all
// others to the tenant's own. The zero form is that of a tenant that is not there.
type form struct {
	deck string
	pins map[string]string // by key
}

func (f form) decide(key string) string {
	if deck, pinned := f.pins[key]; pinned {
		return deck
	}
	return f.deck
}

func (f form) equal(other form) bool { return f.deck == other.deck && maps.Equal(f.pins, other.pins) }

// with returns the form with a key pinned to a deck; an empty deck takes the pin away.
func (f form) with(key, deck string) form {
	next := form{deck: f.deck, pins: maps.Clone(f.pins)}
	if next.pins == nil {
		next.pins = map[string]string{}
	}
	if next.pins[key] = deck; deck == "" {
		delete(next.pins, key)
	}
	return next
}

// outcome is what is known of an attempt to change a tenant.
type outcome string

const (
	pending      outcome = "pending"      // it runs: routers may have it in force or not
	acknowledged outcome = "acknowledged" // it was said to be done, and must not be lost
	unknown      outcome = "unknown"      // it broke off: it may be done or not
	refused      outcome = "refused"      // it was said not to be done: nobody may have it in force
	held         outcome = "held"         // it is stored, and a guard must keep it out of force
)

// attempt is one change of a tenant, in the order in which they were begun.
type attempt struct {
	form    form
	epoch   uint64 // 0: not known yet
	outcome outcome
	by      string // what made it
}

func (a *attempt) String() string {
	return fmt.Sprintf("%s epoch %d -> %s%v by %s", a.outcome, a.epoch, a.form.deck, a.form.pins, a.by)
}

// kinds of tenants, by how their pins are kept.
const (
	unpinned = "false"
	resident = "true"
	cached   = "cached"
)

// history is all that was ever attempted with a tenant. The first attempt is its creation.
type history struct {
	name, pins string
	attempts   []*attempt
}

// newest returns the attempt that is in force once all is settled: the last one that was
// acknowledged.
func (h *history) newest() (int, *attempt) {
	for i, a := range slices.Backward(h.attempts) {
		if a.outcome == acknowledged {
			return i, a
		}
	}
	return -1, nil
}

// model knows what may be in force. A router that was seen to have an attempt in force may
// have it, or a later one, until it is started anew; then it may stand where its snapshot
// did. All methods may be called from any goroutine.
type model struct {
	mu      sync.Mutex
	tenants map[string]*history
	names   []string
	known   map[string]map[string]int // router -> tenant -> the least attempt that it may be at
	saved   map[string]map[string]int // the same for what its snapshot surely holds
}

func newModel(routers []string) *model {
	m := &model{tenants: map[string]*history{}, known: map[string]map[string]int{}, saved: map[string]map[string]int{}}
	for _, router := range routers {
		m.known[router], m.saved[router] = map[string]int{}, map[string]int{}
	}
	return m
}

// add makes a tenant that is acknowledged.
func (m *model) add(name, pins string, f form, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tenants[name] = &history{name: name, pins: pins, attempts: []*attempt{{form: f, epoch: epoch, outcome: acknowledged, by: "the beginning"}}}
	m.names = append(m.names, name)
}

// begin notes a change before it is made, so that no router can be quicker.
func (m *model) begin(tenant string, f form, by string, as outcome) *attempt {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &attempt{form: f, outcome: as, by: by}
	h := m.tenants[tenant]
	h.attempts = append(h.attempts, a)
	return a
}

// end notes what became of a change.
func (m *model) end(a *attempt, epoch uint64, as outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.outcome = as; epoch != 0 {
		a.epoch = epoch
	}
}

// settled says whether it is known what is stored of the tenant, and returns that.
func (m *model) settled(tenant string) (form, uint64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.tenants[tenant]
	_, newest := h.newest()
	for _, a := range slices.Backward(h.attempts) {
		if a.outcome != refused {
			return newest.form, newest.epoch, a == newest
		}
	}
	return form{}, 0, false
}

// inForce returns what must be in force of a tenant once all is settled.
func (m *model) inForce(tenant string) (form, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, newest := m.tenants[tenant].newest()
	return newest.form, newest.epoch
}

// turn makes of all attempts with one outcome such with another.
func (m *model) turn(from, to outcome) {
	for _, name := range m.names {
		m.turnOf(name, from, to)
	}
}

// turnOf is turn for one tenant.
func (m *model) turnOf(name string, from, to outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.tenants[name].attempts {
		if a.outcome == from {
			a.outcome = to
		}
	}
}

// unheard takes back what was acknowledged above an epoch, and lost before a router knew.
func (m *model) unheard(tenant string, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.tenants[tenant].attempts {
		if a.epoch > epoch && a.outcome == acknowledged {
			a.outcome = refused
		}
	}
}

// since returns the least attempt that a router may have in force at this moment.
func (m *model) since(router, tenant string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[router][tenant]
}

// sight is an answer of a deck, as a client of a router saw it.
type sight struct {
	router, tenant, key string
	since               int    // from model.since, before the request
	deck                string // who answered
	meant, of           string // deck and tenant, as the router told the deck
	epoch               uint64
}

// judge says what is wrong with an answer; empty: nothing. What it shows of the router is
// remembered.
func (m *model) judge(s sight) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.of == oddTenant && s.meant == s.deck && m.tenants[s.tenant].mayBeAbsent(s.since) {
		return "" // the host is nobody's but an odd document's, whose pattern or list has it
	}
	if s.of != s.tenant || s.meant != s.deck {
		return fmt.Sprintf("%s: a request of %s (key %q) was taken for one of %s and sent to %s; %s answered", s.router, s.tenant, s.key, s.of, s.meant, s.deck)
	}
	h := m.tenants[s.tenant]
	for i := s.since; i < len(h.attempts); i++ {
		a := h.attempts[i]
		exact := a.epoch == 0 || a.epoch == s.epoch
		// A pin that is read when it is needed may be newer than the table, whose epoch the deck sees.
		ahead := h.pins == cached && s.epoch < a.epoch && s.epoch >= h.attempts[s.since].epoch
		if a.outcome == refused || a.outcome == held || !exact && !ahead || a.form.decide(s.key) != s.deck {
			continue
		}
		if a.outcome == acknowledged && exact {
			m.known[s.router][s.tenant] = max(m.known[s.router][s.tenant], i)
		}
		return ""
	}
	return fmt.Sprintf("WRONG DECK: %s sent a request of %s (key %q) to %s with epoch %d; since %d there was:\n%s",
		s.router, s.tenant, s.key, s.deck, s.epoch, s.since, h.tell(s.since))
}

// mayLack says whether a router may answer that there is no such tenant.
func (m *model) mayLack(tenant string, since int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tenants[tenant].mayBeAbsent(since)
}

// mayBeAbsent says whether the tenant may be deleted on a router that is at that attempt or a later one.
func (h *history) mayBeAbsent(since int) bool {
	return slices.ContainsFunc(h.attempts[since:], func(a *attempt) bool {
		return a.form.deck == "" && a.outcome != refused && a.outcome != held
	})
}

// tell lists attempts for people.
func (h *history) tell(since int) string {
	var lines []string
	for i, a := range h.attempts[max(0, min(since-3, len(h.attempts))):] {
		lines = append(lines, fmt.Sprintf("  %d: %s", max(0, since-3)+i, a))
	}
	return strings.Join(lines, "\n")
}

// synced notes that a router has in force all that was acknowledged; whole says that its
// snapshot holds that, too.
func (m *model) synced(router string, whole bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, h := range m.tenants {
		m.known[router][name], _ = h.newest()
	}
	if whole {
		m.saved[router] = maps.Clone(m.known[router])
	}
}

// restarted notes that a router goes on from its snapshot.
func (m *model) restarted(router string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[router] = maps.Clone(m.saved[router])
}

// stored is what etcd holds of a tenant; epoch 0: nothing.
type stored struct {
	form  form
	epoch uint64
}

// resolve holds what is stored against what was acknowledged, and learns what became of
// attempts that broke off. It returns what is wrong.
func (m *model) resolve(now map[string]stored) (wrong []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range m.names {
		h, found := m.tenants[name], false
		newest, _ := h.newest()
		for i := len(h.attempts) - 1; i >= newest && !found; i-- {
			a := h.attempts[i]
			found = (a.outcome == acknowledged || a.outcome == unknown) && a.form.equal(now[name].form) && (a.epoch == 0 || a.epoch == now[name].epoch || a.form.deck == "")
			switch {
			case found:
				a.outcome, a.epoch = acknowledged, max(a.epoch, now[name].epoch)
			case a.outcome == unknown:
				a.outcome = refused
			}
		}
		if !found {
			wrong = append(wrong, fmt.Sprintf("ACKNOWLEDGED AND LOST: etcd holds %s with epoch %d -> %s%v; there was:\n%s",
				name, now[name].epoch, now[name].form.deck, now[name].form.pins, h.tell(newest)))
		}
	}
	return wrong
}
