package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/lab"
)

// last lets a fault last for a random while. No outcome hangs on how long it is.
func (c *campaign) last(least, most time.Duration) {
	time.Sleep(least + time.Duration(c.rng.Int64N(int64(most-least))))
}

// withoutEtcd excuses what a router may answer that cannot read a pin, until all is settled.
func (c *campaign) withoutEtcd() {
	c.excused = append(c.excused, c.traffic.excuses.allow("pin_unreadable"))
}

// etcdStops freezes etcd while changes are being made, and lets it go on.
func etcdStops(c *campaign) error {
	c.withoutEtcd()
	defer c.writer()()
	c.last(0, time.Second)
	if err := c.grid.Signal(lab.Etcd, syscall.SIGSTOP); err != nil {
		return err
	}
	c.last(time.Second, 5*time.Second)
	if err := c.grid.Signal(lab.Etcd, syscall.SIGCONT); err != nil {
		return err
	}
	return c.etcdIsBack()
}

// etcdIsKilled kills etcd while changes are being made, and starts it on its data.
func etcdIsKilled(c *campaign) error {
	c.withoutEtcd()
	defer c.writer()()
	c.last(0, time.Second)
	if err := c.grid.Kill(lab.Etcd); err != nil {
		return err
	}
	c.last(0, 4*time.Second)
	return c.start(lab.Etcd)
}

// etcdIsCut cuts some of the ways to etcd.
func etcdIsCut(c *campaign) error {
	c.withoutEtcd()
	stop := c.writer()
	defer stop()
	parts := append(campaignRouters(), lab.GSLB)
	c.rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	parts = parts[:1+c.rng.IntN(len(parts))]
	how := []way{silent, broken}[c.rng.IntN(2)]
	c.note("%s cut off, %v", parts, how)
	for _, part := range parts {
		c.relays[part].set(how)
	}
	c.last(time.Second, 8*time.Second)
	stop()
	c.waitTells()
	for _, part := range parts {
		c.relays[part].set(open)
	}
	return nil
}

// backup is what etcd held at some moment.
type backup struct {
	dir    string // etcd's data, as a snapshot of its volume would have them
	kvs    []*mvccpb.KeyValue
	logins *logins // whom etcd let in
}

// backup makes one, now and then: a copy of etcd's folder while etcd is frozen, and all keys.
func (c *campaign) backup() {
	if c.copied != nil && !c.chance(3) || len(c.corrupt) > 0 {
		return
	}
	b := &backup{dir: filepath.Join(c.dir, fmt.Sprintf("backup-%d", time.Now().UnixNano())), logins: c.logins.copy()}
	err := c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		answer, err := client.Get(ctx, campaignPrefix, clientv3.WithPrefix())
		if err == nil {
			b.kvs = answer.Kvs // with what processes said of themselves, which hangs on no lease any more
		}
		return err
	})
	if err == nil {
		err = c.frozen(func() error { return os.CopyFS(b.dir, os.DirFS(filepath.Join(c.grid.Data(), "etcd"))) })
	}
	if err != nil {
		c.t.Fatalf("%s: no backup: %v", c.round.Load(), err)
	}
	if c.copied != nil {
		_ = os.RemoveAll(c.copied.dir)
	}
	c.copied = b
}

// frozen calls work while etcd is stopped, all of its threads.
func (c *campaign) frozen(work func() error) error {
	if err := c.grid.Signal(lab.Etcd, syscall.SIGSTOP); err != nil {
		return err
	}
	err := c.until("etcd is frozen", func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.grid.PID(lab.Etcd)))
		if err == nil && !strings.Contains(string(stat), ") T ") {
			err = errors.New("it runs")
		}
		return err
	})
	if err == nil {
		err = work()
	}
	return errors.Join(err, c.grid.Signal(lab.Etcd, syscall.SIGCONT))
}

// etcdIsRestored puts the backup in etcd's place. What the backup does not know must be told.
func etcdIsRestored(c *campaign) error {
	if err := c.mendCorrupt(); err != nil {
		return err
	}
	if c.copied == nil {
		return errors.New("there is no backup")
	}
	if err := c.writeSome(2 + c.rng.IntN(4)); err != nil {
		return err
	}
	if c.chance(2) { // else some routers have not even seen the newest
		if _, err := c.grid.Ctl(context.Background(), "wait", "--timeout", campaignPatience.String()); err != nil {
			return fmt.Errorf("before the restore: %w\n%s", err, c.state())
		}
	}
	c.withoutEtcd()
	if err := c.grid.Kill(lab.Etcd); err != nil {
		return err
	}
	if err := c.deletedReturn(); err != nil {
		return err
	}
	if err := c.putBack(); err != nil {
		return err
	}
	now, revision, err := c.stored()
	if err != nil {
		return err
	}
	lost, err := c.lost(now)
	if err != nil {
		return err
	}
	c.note("etcd at revision %d, %d tenants set back", revision, len(lost))
	if len(lost) == 0 {
		return nil
	}
	gone := slices.DeleteFunc(slices.Clone(lost), func(name string) bool { return now[name].epoch > 0 })
	for _, name := range gone {
		c.note("%s is not in the backup", name)
		c.model.begin(name, form{}, "a restore to before it was made", held)
	}
	if err := c.lossIsTold(lost, gone); err != nil {
		return err
	}
	if err := c.until("each has said how it stands", c.heard); err != nil {
		return err
	}
	c.waitTells()
	if c.chance(2) {
		return c.newcomer(lost, gone)
	}
	keep := slices.DeleteFunc(lost, func(string) bool { return c.chance(2) })
	return c.settleRestore(keep)
}

// putBack starts etcd with what the backup holds: its volume, or a new cluster that all keys
// are written to, which routers see before or after it is whole.
func (c *campaign) putBack() error {
	dir := filepath.Join(c.grid.Data(), "etcd")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if c.chance(2) {
		c.note("the volume")
		if err := os.CopyFS(dir, os.DirFS(c.copied.dir)); err != nil {
			return err
		}
		return c.logInAgain(c.copied.logins, c.start)
	}
	c.note("all keys in a new cluster")
	c.logins.on = false
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, r := range c.relays {
		r.set(broken)
	}
	defer func() {
		for _, r := range c.relays {
			r.set(open)
		}
	}()
	if err := c.start(lab.Etcd); err != nil {
		return err
	}
	return c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		for _, kv := range c.copied.kvs {
			if _, err := client.Put(ctx, string(kv.Key), string(kv.Value)); err != nil {
				return err
			}
		}
		return nil
	})
}

// deletedReturn notes the tenants that were deleted since the backup was made: with it they
// are back, as no router remembers what was deleted.
func (c *campaign) deletedReturn() error {
	was, err := c.readStored(c.copied.kvs)
	if err != nil {
		return err
	}
	for _, name := range c.model.names {
		if f, _ := c.model.inForce(name); f.deck == "" && was[name].epoch > 0 {
			c.note("%s, which was deleted, returns", name)
			// Where an earlier restore left word of a higher epoch, that must be settled first.
			c.excused = append(c.excused, c.traffic.excuses.allow("tenant_invalid"))
			c.model.end(c.model.begin(name, was[name].form, "its return by the restore", pending), was[name].epoch, unknown)
		}
	}
	return nil
}

// lost returns the tenants of which etcd holds an older epoch than was acknowledged, and some
// router knows better. What went before any router had heard of it nobody is left to tell.
// A tenant that the backup does not have at all is a deletion, which guards hold.
func (c *campaign) lost(now map[string]stored) (names []string, err error) {
	for _, name := range c.model.names {
		if f, epoch := c.model.inForce(name); f.deck == "" || now[name].epoch >= epoch {
			continue
		}
		seen := uint64(0)
		for n := range campaignRouters() {
			var told struct{ Epoch uint64 }
			a, err := get("http://" + c.grid.Admin(n+1) + "/tenants/" + name)
			if err != nil {
				return nil, err
			}
			if err := json.Unmarshal(a.body, &told); err != nil {
				return nil, err
			}
			seen = max(seen, told.Epoch)
		}
		if seen > now[name].epoch {
			names = append(names, name)
			continue
		}
		c.note("%s lost before anybody heard of it", name)
		if now[name].epoch == 0 {
			c.model.begin(name, form{}, "a restore to before it was made", acknowledged)
			continue
		}
		c.model.unheard(name, now[name].epoch)
	}
	return names, nil
}

// lossIsTold waits until gridctl names every tenant that was set back, and tells that guards
// hold the deletion of those that are gone.
func (c *campaign) lossIsTold(lost, gone []string) error {
	err := c.until("the loss is told", func() error {
		told, err := c.rewound()
		if err != nil {
			return err
		}
		guard, err := c.guard()
		if err != nil {
			return err
		}
		if len(gone) > 0 && len(guard.Holding) == 0 {
			return fmt.Errorf("no guard holds the deletion of %v", gone)
		}
		for _, name := range lost {
			if !told[name] && !slices.Contains(gone, name) {
				return fmt.Errorf("gridctl restored names %v, not %s", slices.Sorted(maps.Keys(told)), name)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.state())
	}
	return nil
}

// newcomer starts a router that has seen nothing, while the loss is not settled: it must
// serve no tenant that was set back.
func (c *campaign) newcomer(lost, gone []string) error {
	c.note("a newcomer meanwhile")
	router := c.router()
	defer c.traffic.excuses.allow("tenant_invalid", "no_tenant")()
	if err := c.fresh(router); err != nil {
		return err
	}
	w := &wire{address: c.grid.Address(router)}
	defer w.close()
	for _, name := range lost {
		a, err := w.ask(campaignRequest(name, "k0"))
		if err != nil {
			return err
		}
		want := "tenant_invalid"
		if slices.Contains(gone, name) {
			want = "no_tenant"
		}
		if code := a.header.Get("X-Grid-Fault"); code != want {
			c.fail("%s never saw %s, which was set back, and answers %s", router, name, a)
		}
	}
	if err := c.until("each has said how it stands", c.heard); err != nil {
		return err
	}
	c.waitTells()
	if err := c.settleRestore(slices.DeleteFunc(lost, func(string) bool { return c.chance(2) })); err != nil {
		return err
	}
	if err := c.settle(); err != nil {
		return err
	}
	// One killed before its next snapshot would start with those tenants refused once more.
	return c.until("the newcomer's snapshot holds what was settled", func() error {
		if !c.snapshotIsWhole(slices.Index(campaignRouters(), router) + 1) {
			return errors.New(router + "'s snapshot is older")
		}
		return nil
	})
}

// prefixIsWiped deletes all documents, or all that is under the prefix, by mistake.
func prefixIsWiped(c *campaign) error {
	if err := c.mendAndWait(); err != nil {
		return err
	}
	if err := c.writeSome(c.rng.IntN(5)); err != nil {
		return err
	}
	c.withoutEtcd()
	prefixes := []string{"docs/", "docs/tenants/"}
	if !slices.ContainsFunc(c.model.names, func(name string) bool { f, _ := c.model.inForce(name); return f.deck == "" }) {
		// With the change records the epochs of deleted tenants go, which begin anew when they come back;
		// a router that remembers refuses them until that is settled like a restore.
		prefixes = append(prefixes, "")
	}
	prefix := campaignPrefix + prefixes[c.rng.IntN(len(prefixes))]
	c.note("%s", prefix)
	err := c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Delete(ctx, prefix, clientv3.WithPrefix())
		return err
	})
	if err != nil {
		return err
	}
	if err := c.all("the wipe is held", holds); err != nil {
		return err
	}
	if err := c.until("each has said so", c.heard); err != nil {
		return err
	}
	c.waitTells()
	return c.settle() // pins cannot be read until it is
}

// massChange writes tenants past gridctl, in one transaction: more than the guard lets
// through. It is meant, or a mistake.
func massChange(c *campaign) error {
	if err := c.mendAndWait(); err != nil {
		return err
	}
	now, _, err := c.stored()
	if err != nil {
		return err
	}
	c.accept = c.chance(2)
	names := slices.Sorted(maps.Keys(now))
	c.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var ops []clientv3.Op
	for _, name := range names[:12+c.rng.IntN(len(names)-12)] {
		f := form{deck: c.otherDeck(now[name].form.deck), pins: now[name].form.pins}
		a := c.model.begin(name, f, "a mass change", held)
		c.model.end(a, now[name].epoch+1, held)
		ops = append(ops, clientv3.OpPut(campaignPrefix+"docs/tenants/"+name, storedTenant(name, c.model.tenants[name].pins, f, now[name].epoch+1)))
	}
	c.note("of %d tenants", len(ops))
	err = c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return err
	}
	return c.all("the mass change is held", holds)
}

// storedTenant is the value of a tenant in etcd.
func storedTenant(name, pins string, f form, epoch uint64) string {
	rule := fmt.Sprintf(`{"name":"all","deck":"%s"}`, f.deck)
	if pins != unpinned {
		if pins == cached {
			pins = `"cached"`
		}
		rule = fmt.Sprintf(`{"name":"users","key":{"header":"x-user-id"},"pins":%s,"split":{"%s":1}}`, pins, f.deck)
	}
	return fmt.Sprintf(`{"kind":"Tenant","name":"%s","hosts":["%s.campaign.example"],"epoch":%d,"rules":[%s]}`, name, name, epoch, rule)
}
