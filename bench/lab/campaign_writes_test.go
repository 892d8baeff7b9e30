package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/lab"
	"gridrouter.io/routing"
)

const campaignPrefix = "/gridrouter/"

// campaignDecks are the documents of the decks and of their names. A loaded machine must
// not look like a deck that fails: their timeouts are long.
func campaignDecks() string {
	var text strings.Builder
	for i, name := range lab.DeckNames() {
		fmt.Fprintf(&text, "kind: Deck\nname: %s\ndomain: %s.%s\ntimeouts: {connect: 30s, firstByte: 60s}\n", name, name, lab.Origin)
		if i < 2 {
			fmt.Fprintf(&text, "attach: direct\naddresses: [\"%s.%d:8080\"]\n---\n", lab.DefaultNet, 21+i)
			continue
		}
		fmt.Fprintf(&text, "attach: mesh\nport: 8080\n---\nkind: Gslb\nname: %s.%s\nttl: 1\npolicy: weighted\nvips: [{address: %s.31, weight: 1}, {address: %s.32, weight: 1}]\n---\n",
			name, lab.Origin, lab.DefaultNet, lab.DefaultNet)
	}
	return text.String()
}

// tenantText is the document of a tenant, without its pins.
func tenantText(name, pins string, f form) string {
	rules := "[{name: all, deck: " + f.deck + "}]"
	if pins != unpinned {
		rules = fmt.Sprintf("[{name: users, key: {header: x-user-id}, pins: %s, split: {%s: 1}}]", pins, f.deck)
	}
	return fmt.Sprintf("kind: Tenant\nname: %s\nhosts: [%s.campaign.example]\nrules: %s\n---\n", name, name, rules)
}

func pinText(tenant, key, deck string) string {
	return fmt.Sprintf("kind: Pin\ntenant: %s\nkey: %s\ndeck: %s\n---\n", tenant, key, deck)
}

// ctlReport is what a command of gridctl that changes something says of it.
type ctlReport struct {
	Plan struct {
		Changes []struct {
			Key, Action string
			EpochTo     uint64
		}
	}
	Error string
}

// epoch returns the epoch that a tenant gets; 0: it keeps its own.
func (r *ctlReport) epoch(tenant string) uint64 {
	for _, change := range r.Plan.Changes {
		if change.Key == "tenants/"+tenant {
			return change.EpochTo
		}
	}
	return 0
}

// action returns what the command does to a tenant, or to a pin of it; empty: nothing.
func (r *ctlReport) action(tenant string) string {
	for _, change := range r.Plan.Changes {
		ours := change.Key == "tenants/"+tenant || strings.HasPrefix(change.Key, "pins/"+tenant+"/")
		if ours && change.Action != "unchanged" {
			return change.Action
		}
	}
	return ""
}

// ctl runs a command of gridctl that changes something. A nil report says that it came to
// no plan, so that nothing was written.
func (c *campaign) ctl(ctx context.Context, args ...string) (*ctlReport, error) {
	out, err := c.grid.Ctl(ctx, append(args, "-o", "json")...)
	var report ctlReport
	if bad := json.Unmarshal([]byte(out), &report); bad != nil {
		if err == nil {
			err = fmt.Errorf("gridctl %s printed %q: %w", strings.Join(args, " "), out, bad)
		}
		return nil, err
	}
	return &report, err
}

// recentTenants keeps changes below what the guard takes for a mass change.
type recentTenants struct {
	mu   sync.Mutex
	when map[string]time.Time
}

// recentSpan is a little more than the ten seconds in which the guard counts.
const recentSpan = 13 * time.Second

// recentMost leaves room below the guard's ten for what is written past gridctl beside it.
const recentMost = 6

// may says whether a tenant can be changed without being one too many, and counts it.
func (r *recentTenants) may(tenant string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.when == nil {
		r.when = map[string]time.Time{}
	}
	for name, at := range r.when {
		if time.Since(at) > recentSpan {
			delete(r.when, name)
		}
	}
	if _, there := r.when[tenant]; !there && len(r.when) >= recentMost {
		return false
	}
	r.when[tenant] = time.Now()
	return true
}

// write changes a tenant that rng draws, and records what came of it. An error is one that
// tells nothing was written.
func (c *campaign) write(rng *rand.Rand, timeout time.Duration) error {
	var name string
	var f form
	for try := 0; ; try++ {
		name = c.model.names[rng.IntN(len(c.model.names))]
		now, _, settled := c.model.settled(name)
		if f = now; settled && !c.corrupt[name] && c.changed.may(name) {
			break
		}
		if try > 200 {
			return errors.New("no tenant can be changed now")
		}
	}
	decks := lab.DeckNames()
	pins := c.model.tenants[name].pins
	key := campaignKeys()[rng.IntN(3)]
	deck := decks[rng.IntN(len(decks))]
	switch _, pinned := f.pins[key]; {
	case f.deck == "":
		return c.changeBy(name, form{deck: deck}, timeout, tenantText(name, pins, form{deck: deck}), c.change)
	case rng.IntN(10) == 0:
		return c.change(name, form{}, timeout, "delete", "tenant", name, "--with-pins")
	case pins != unpinned && pinned && rng.IntN(3) == 0:
		return c.change(name, f.with(key, ""), timeout, "delete", "pin", name, key)
	case pins != unpinned && rng.IntN(2) == 0 && f.pins[key] != deck:
		return c.changeBy(name, f.with(key, deck), timeout, pinText(name, key, deck), c.change)
	case deck != f.deck:
		return c.changeBy(name, form{deck, f.pins}, timeout, tenantText(name, pins, form{deck: deck}), c.change)
	}
	return nil
}

// changeBy applies documents that give a tenant a form.
func (c *campaign) changeBy(name string, f form, timeout time.Duration, text string, run gridctlRun) error {
	file, err := os.CreateTemp(c.dir, "*.yaml")
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	defer os.Remove(file.Name())
	return run(name, f, timeout, "apply", "-f", file.Name())
}

// gridctlRun runs gridctl to give a tenant a form.
type gridctlRun func(name string, f form, timeout time.Duration, args ...string) error

// mean is change for somebody who says that many changes at once are meant, if that is asked.
func (c *campaign) mean(name string, f form, timeout time.Duration, args ...string) error {
	err := c.change(name, f, timeout, args...)
	if err != nil && strings.Contains(err.Error(), "or with --allow-mass-change") {
		err = c.change(name, f, timeout, append(args, "--allow-mass-change")...)
	}
	return err
}

// change runs a command that gives a tenant a form.
func (c *campaign) change(name string, f form, timeout time.Duration, args ...string) error {
	a := c.model.begin(name, f, args[0], pending)
	report, err := c.ctl(context.Background(), append(args, "--timeout", timeout.String())...)
	switch {
	case report == nil:
		c.model.end(a, 0, refused)
		c.writes.refused.Add(1)
		return err
	case err == nil:
		c.model.end(a, report.epoch(name), acknowledged)
		c.writes.acknowledged.Add(1)
	default: // done or not, which is no error here
		c.model.end(a, report.epoch(name), unknown)
		c.writes.unknown.Add(1)
	}
	return nil
}

// writer changes tenants until the returned function is called, whatever comes of it.
func (c *campaign) writer() (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	rng := rand.New(rand.NewPCG(c.rng.Uint64(), 0))
	go func() {
		defer close(done)
		for {
			_ = c.write(rng, 2*time.Second)
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(end)
		<-done
	})
}

// writeSome makes n changes, each of which must be done.
func (c *campaign) writeSome(n int) error {
	for range n {
		if err := c.write(c.rng, time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// withEtcd calls use with a client of etcd itself, beside all relays, which may do anything.
func (c *campaign) withEtcd(use func(context.Context, *clientv3.Client) error) error {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{c.grid.EtcdURL()}, Logger: zap.NewNop(),
		Username: "root", Password: rootPassword, DialTimeout: time.Minute,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return use(ctx, client)
}

// stored reads what etcd holds of the campaign's tenants.
func (c *campaign) stored() (now map[string]stored, revision int64, err error) {
	err = c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		answer, err := client.Get(ctx, campaignPrefix+"docs/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		revision = answer.Header.Revision
		now, err = c.readStored(answer.Kvs)
		return err
	})
	return now, revision, err
}

// readStored reads what keys, in their order, say of the campaign's tenants.
func (c *campaign) readStored(kvs []*mvccpb.KeyValue) (map[string]stored, error) {
	now := map[string]stored{}
	for _, kv := range kvs {
		key, ours := strings.CutPrefix(string(kv.Key), campaignPrefix+"docs/")
		if tenant, found := strings.CutPrefix(key, "tenants/"); ours && found && c.model.tenants[tenant] != nil {
			now[tenant] = readTenant(kv.Value, now[tenant])
		}
		rest, found := strings.CutPrefix(key, "pins/")
		tenant, pin, _ := strings.Cut(rest, "/")
		if !ours || !found || c.model.tenants[tenant] == nil || !slices.Contains(campaignKeys(), pin) {
			continue
		}
		var p routing.Pin
		if err := json.Unmarshal(kv.Value, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		s := now[tenant]
		s.form = s.form.with(p.Key, p.Deck)
		now[tenant] = s
	}
	for name, s := range now {
		if s.epoch == 0 {
			delete(now, name) // pins without their tenant lead nowhere
		}
	}
	return now, nil
}

// readTenant reads what a tenant's document says; pins are listed before tenants.
func readTenant(value []byte, s stored) stored {
	var t routing.Tenant
	if json.Unmarshal(value, &t) != nil || len(t.Rules) != 1 {
		return s
	}
	s.epoch, s.form.deck = t.Epoch, t.Rules[0].Deck
	for deck := range t.Rules[0].Split {
		s.form.deck = deck
	}
	return s
}
