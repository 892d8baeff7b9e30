package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/lab"
	"gridrouter.io/discovery"
)

// settle waits until the grid agrees, and acts as a person would on what it tells
// meanwhile. Then all that was acknowledged must be stored, and in force on every router.
func (c *campaign) settle() error {
	err := c.until("the routers agree", func() error {
		if err := c.heard(); err != nil {
			return err
		}
		_, err := c.grid.Ctl(context.Background(), "wait", "--timeout", "5s")
		if err == nil {
			return nil
		}
		return errors.Join(err, c.act())
	})
	c.accept = false
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.state())
	}
	if err := c.until("pins can be read again", c.pinsAreRead); err != nil {
		return err
	}
	if len(c.excused) > 0 { // a router that starts from an older snapshot refuses once more what was settled
		if err := c.until("the snapshots hold what was settled", c.snapshotsAreWhole); err != nil {
			return err
		}
	}
	for _, end := range c.excused {
		end()
	}
	c.excused = nil
	return c.verify()
}

// snapshotsAreWhole says which router's snapshot is older than its table.
func (c *campaign) snapshotsAreWhole() error {
	for n, router := range campaignRouters() {
		if !c.snapshotIsWhole(n + 1) {
			return errors.New(router + "'s snapshot is older")
		}
	}
	return nil
}

// pinsAreRead says which router cannot read the pins that it reads on demand. It follows
// documents by one connection, and reads pins by another.
func (c *campaign) pinsAreRead() error {
	for _, router := range campaignRouters() {
		w := &wire{address: c.grid.Address(router)}
		defer w.close()
		for _, name := range c.model.names {
			if c.model.tenants[name].pins != cached {
				continue
			}
			for _, key := range campaignKeys() {
				a, err := w.ask(campaignRequest(name, key))
				if err != nil {
					return err
				}
				if a.header.Get("X-Grid-Fault") == "pin_unreadable" {
					return fmt.Errorf("%s, %s, %s: %s", router, name, key, a)
				}
			}
		}
	}
	return nil
}

// state is what the grid tells of itself, for people.
func (c *campaign) state() string {
	fleet, err := c.grid.Ctl(context.Background(), "fleet")
	text := fmt.Sprintf("%s%v\n", fleet, err)
	if guard, err := c.guard(); err == nil && len(guard.Holding) > 0 {
		out, err := c.grid.Ctl(context.Background(), "guard", "discard", fmt.Sprint(guard.Revision), "--dry-run")
		text += fmt.Sprintf("to discard what is held:\n%s%v\n", out, err)
		now, _, err := c.stored()
		text += fmt.Sprintf("stored: %v, %v\n", now, err)
	}
	for n, router := range campaignRouters() {
		for _, path := range []string{"/table", "/problems"} {
			if a, err := get("http://" + c.grid.Admin(n+1) + path); err == nil {
				text += fmt.Sprintf("%s %s: %.1500s\n", router, path, a.body)
			}
		}
	}
	for _, part := range append(campaignRouters(), lab.GSLB) {
		if log, err := os.ReadFile(c.grid.Log(part)); err == nil {
			text += fmt.Sprintf("the last that %s logged:\n%s\n", part, log[max(0, len(log)-6000):])
		}
	}
	return text
}

// act settles what gridctl tells: what a guard holds, what a restore set back, documents
// that are bad.
func (c *campaign) act() error {
	guard, err := c.guard()
	if err != nil {
		return err
	}
	if len(guard.Holding) > 0 {
		return c.settleGuard(guard.Revision)
	}
	switch told, err := c.rewound(); {
	case err != nil && strings.Contains(err.Error(), "the stored document is bad"):
		return errors.Join(err, c.mendCorrupt()) // as it says
	case err != nil:
		return err
	case len(told) > 0:
		return c.settleRestore(nil)
	}
	if fleet, err := c.fleet(); err == nil && fleet.otherForms() {
		return errors.Join(c.mendCorrupt(), c.sweepOdd())
	}
	return nil
}

// sweepOdd takes odd and large documents away. Where one is bad that was good before, a router that starts anew has not
// the form that the others keep.
func (c *campaign) sweepOdd() error {
	return c.withEtcd(func(ctx context.Context, client *clientv3.Client) error {
		return c.sweep(ctx, client, func(key string) bool { return !expectedKey.MatchString(key) })
	})
}

// guardTold is what gridctl guard tells.
type guardTold struct {
	Revision int64
	Holding  []any
}

func (c *campaign) guard() (told guardTold, err error) {
	out, err := c.grid.Ctl(context.Background(), "guard", "-o", "json")
	if err != nil {
		return told, err
	}
	return told, json.Unmarshal([]byte(out), &told)
}

// settleGuard accepts or discards what is held.
func (c *campaign) settleGuard(revision int64) error {
	if c.accept {
		c.note("guard accept")
		return c.acceptHeld(revision)
	}
	c.note("guard discard")
	return c.rewrite("guard discard", func(name string) form {
		now, _ := c.model.inForce(name)
		return now
	}, "guard", "discard", fmt.Sprint(revision))
}

// acceptHeld puts into force what is held.
func (c *campaign) acceptHeld(revision int64) error {
	c.model.turn(held, pending)
	if _, err := c.grid.Ctl(context.Background(), "guard", "accept", fmt.Sprint(revision)); err != nil {
		return err
	}
	c.model.turn(pending, acknowledged)
	return c.until("nobody holds it any more", func() error {
		told, err := c.guard()
		if err == nil && len(told.Holding) > 0 {
			err = fmt.Errorf("%+v", told)
		}
		return err
	})
}

// rewrite runs a command that may write any tenant anew, in a form that is known before.
func (c *campaign) rewrite(by string, of func(string) form, args ...string) error {
	attempts := map[string]*attempt{}
	for _, name := range c.model.names {
		attempts[name] = c.model.begin(name, of(name), by, pending)
	}
	report, err := c.ctl(context.Background(), append(args, "--timeout", "30s")...)
	for name, a := range attempts {
		switch {
		case report == nil || report.action(name) == "":
			c.model.end(a, 0, refused)
		case err != nil:
			c.model.end(a, report.epoch(name), unknown)
		default:
			c.model.end(a, report.epoch(name), acknowledged)
		}
	}
	if err == nil {
		c.model.turn(held, refused) // it is undone
	}
	return err
}

// rewound returns the tenants that gridctl says were set back. It names them also where it refuses to
// settle that yet, since a guard holds something.
func (c *campaign) rewound() (map[string]bool, error) {
	out, err := c.grid.Ctl(context.Background(), "restored", "--dry-run", "--allow-mass-change")
	told := map[string]bool{}
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 3 && words[0] == "tenant" && words[2] == "has" {
			told[words[1]] = true
		}
	}
	if err != nil && strings.Contains(err.Error(), "routers hold another mass change") {
		err = nil
	}
	if err != nil && strings.Contains(err.Error(), "fit etcd with a change record") {
		err = c.sweepOdd() // nothing else is so large
	}
	return told, err
}

// settleRestore applies the newest form of those tenants that keep it, and lets the others
// be as the backup has them. First it sees to those that the backup does not have at all: their loss
// is held.
func (c *campaign) settleRestore(keep []string) error {
	before, _, err := c.stored()
	if err != nil {
		return err
	}
	for _, name := range keep {
		if before[name].epoch > 0 {
			continue
		}
		c.note("%s written again", name)
		c.model.turnOf(name, held, refused)
		if err := c.reapply(name, "what the backup lacks"); err != nil {
			return err
		}
	}
	keep = slices.DeleteFunc(slices.Clone(keep), func(name string) bool { return before[name].epoch == 0 })
	if err := c.until("each has said what it holds", c.heard); err != nil {
		return err
	}
	guard, err := c.guard()
	if err != nil {
		return err
	}
	if len(guard.Holding) > 0 {
		c.note("guard accept")
		if err := c.acceptHeld(guard.Revision); err != nil {
			return err
		}
	}
	for _, name := range keep {
		if err := c.reapply(name, "the newest form again"); err != nil {
			return err
		}
	}
	now, _, err := c.stored()
	if err != nil {
		return err
	}
	c.note("restored, %d kept", len(keep))
	if told, err := c.rewound(); err != nil || len(told) == 0 {
		return err // all were kept
	}
	return c.rewrite("gridctl restored", func(name string) form { return now[name].form }, "restored", "--allow-mass-change")
}

// reapply writes the form in force of a tenant anew, with all of its pins.
func (c *campaign) reapply(name, by string) error {
	f, _ := c.model.inForce(name)
	now, _, err := c.stored()
	if err != nil {
		return err
	}
	text := tenantText(name, c.model.tenants[name].pins, f)
	whole := f // with the pins that are there and must go
	for key, deck := range now[name].form.pins {
		if _, stays := f.pins[key]; !stays {
			whole = whole.with(key, deck)
		}
	}
	for key, deck := range f.pins {
		text += pinText(name, key, deck)
	}
	if err := c.changeBy(name, whole, time.Minute, text, c.mean); err != nil {
		return fmt.Errorf("%s: %w", by, err)
	}
	for key := range now[name].form.pins {
		if _, stays := f.pins[key]; stays {
			continue
		}
		whole = whole.with(key, "")
		if err := c.mean(name, whole, time.Minute, "delete", "pin", name, key); err != nil {
			return fmt.Errorf("%s: %w", by, err)
		}
	}
	return nil
}

// verify holds the grid, which says that it agrees, to that.
func (c *campaign) verify() error {
	if err := c.agreement(); err != nil {
		return fmt.Errorf("SPLIT UNSAID: gridctl wait ended well: %w\n%s", err, c.state())
	}
	now, _, err := c.stored()
	if err != nil {
		return err
	}
	for _, name := range c.model.names {
		if c.corrupt[name] { // what is stored is bad, on purpose
			_, a := c.model.tenants[name].newest()
			now[name] = stored{a.form, a.epoch}
		}
	}
	if wrong := c.model.resolve(now); len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	for n, router := range campaignRouters() {
		c.model.synced(router, c.snapshotIsWhole(n+1))
		w := &wire{address: c.grid.Address(router)}
		for _, name := range c.model.names {
			for _, key := range campaignKeys() {
				c.traffic.ask(w, router, name, key)
			}
		}
		w.close()
	}
	return nil
}

// snapshotIsWhole says whether a router's snapshot holds what it has in force.
func (c *campaign) snapshotIsWhole(n int) bool {
	told, err := c.table(n)
	if err != nil {
		return false
	}
	header, _, err := discovery.ReadSnapshot(c.snapshot(campaignRouters()[n-1]))
	return err == nil && header.Hash == told.Hash && header.EffectiveHash == told.EffectiveHash
}

// snapshot is the file of a router's snapshot.
func (c *campaign) snapshot(router string) string {
	return filepath.Join(c.grid.Data(), "state", "gridrouter", router+".snap")
}

// start starts a part again, once it is ready.
func (c *campaign) start(part string) error { return c.grid.Restart(context.Background(), part) }

// all waits until every router's table is as it should be.
func (c *campaign) all(what string, is func(tableTold) bool) error {
	return c.until(what, func() error {
		for n, router := range campaignRouters() {
			if told, err := c.table(n + 1); err != nil || !is(told) {
				return errors.Join(err, fmt.Errorf("%s has %+v", router, told))
			}
		}
		return nil
	})
}

func holds(told tableTold) bool { return told.Guard != nil }

// etcdIsBack waits until etcd answers.
func (c *campaign) etcdIsBack() error {
	return c.until(lab.Etcd+" answers", func() error {
		_, _, err := c.stored()
		return err
	})
}
