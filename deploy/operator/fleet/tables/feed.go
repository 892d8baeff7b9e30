package tables

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"gridrouter.io/discovery/catalog"
)

// Report is what a fleet's routers say of their tables.
type Report struct {
	// At is when the keys were last read; zero: never yet.
	At time.Time
	// Err says why the latest look failed, with the mend and without secrets; nil: it did not. The rest is
	// of the last one that succeeded, At tells its age.
	Err error
	// Routers are all that can be read under fleet/, by their IDs: the names of their pods. Other fleets
	// with the same prefix are among them, and routers that are in no fleet.
	Routers map[string]catalog.Status
	// Unreadable are keys under fleet/ that hold no status, with the reason; at most 100 of them.
	Unreadable map[string]string
	// Looks are the latest looks, oldest first, the last one at At: those that [Judge] needs.
	Looks []Look
}

// Look is what was read at one time.
type Look struct {
	// At is when it was read.
	At time.Time
	// Cluster is etcd's own ID, Revision how far it had come.
	Cluster  uint64
	Revision int64
	// Routers are as in [Report].
	Routers map[string]catalog.Status
}

// feed reads one source for all who follow it.
type feed struct {
	key        identity
	source     Source
	options    Options
	connection *connection
	stop       context.CancelFunc

	mu        sync.Mutex // guards the rest
	followers map[string]func()
	report    Report
	looked    bool // the first look is over
}

func (f *feed) follow(id string, changed func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers[id] = changed
}

// unfollow returns how many are left.
func (f *feed) unfollow(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.followers, id)
	return len(f.followers)
}

func (f *feed) latest() (Report, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report, f.looked
}

// run looks at once, and then again and again until ctx ends.
func (f *feed) run(ctx context.Context) {
	for {
		found, err := f.look(ctx)
		if ctx.Err() != nil {
			return
		}
		for _, changed := range f.take(found, err) {
			changed()
		}
		spread := 0.9 + 0.2*rand.Float64() // sources that began together do not stay so
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(spread * float64(f.options.Every))):
		}
	}
}

// look reads all keys once, and once more if it gets no answer: another member may give one.
func (f *feed) look(ctx context.Context) (found, error) {
	if !strings.HasPrefix(f.source.Prefix, "/") || !strings.HasSuffix(f.source.Prefix, "/") {
		return found{}, errors.New(`prefix must begin and end with "/": write one such as /gridrouter/`)
	}
	client, err := f.connection.open()
	if err != nil {
		return found{}, err
	}
	for again := true; ; again = false {
		found, err := read(ctx, client, f.source.Prefix, f.options.Timeout)
		if err == nil || ctx.Err() != nil {
			return found, err
		}
		if !again || !passing(err) {
			return found, explain(f.source, f.options.Timeout, err)
		}
	}
}

// take makes a look known, and returns who is to be told of it.
func (f *feed) take(found found, err error) (tell []func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, first := f.report, !f.looked
	f.looked = true
	if err != nil {
		// What was good stays. Looks from before a gap say nothing of who lags after it: when etcd is
		// back, some routers tell of it before others.
		f.report.Err = err
	} else {
		f.report = Report{At: found.At, Routers: found.Routers, Unreadable: found.unreadable}
		if before.Err == nil {
			f.report.Looks = append(f.report.Looks, before.Looks...)
		}
		f.report.Looks = keep(append(f.report.Looks, found.Look), f.options.LagAfter)
	}
	if !first && same(before, f.report) {
		return nil
	}
	tell = make([]func(), 0, len(f.followers))
	for _, changed := range f.followers {
		if changed != nil {
			tell = append(tell, changed)
		}
	}
	return tell
}

// keep drops the looks that nothing is judged by any more, of a list of its own. What is left covers the
// time that a router may lag, by a few looks however often they are made.
func keep(looks []Look, lagAfter time.Duration) []Look {
	last := looks[len(looks)-1]
	from := 0
	for i, look := range looks {
		switch {
		case look.Cluster != last.Cluster || look.Revision > last.Revision:
			from = i + 1 // another etcd, or one that was restored: its revisions mean something else
		case last.At.Sub(look.At) >= lagAfter:
			from = i // of those that are old enough the youngest is wanted
		}
	}
	looks = looks[from:]
	if n := len(looks); n >= 4 && looks[n-2].At.Sub(looks[n-3].At) < lagAfter/4 {
		looks = append(looks[:n-2], last)
	}
	return looks
}

// same says whether two reports tell the same of what matters.
func same(a, b Report) bool {
	if (a.Err == nil) != (b.Err == nil) || a.Err != nil && a.Err.Error() != b.Err.Error() {
		return false
	}
	if len(a.Routers) != len(b.Routers) || len(a.Unreadable) != len(b.Unreadable) {
		return false
	}
	for id, x := range a.Routers {
		y, there := b.Routers[id]
		if !there || x.Revision != y.Revision || x.Hash != y.Hash || x.EffectiveHash != y.EffectiveHash || x.Version != y.Version {
			return false
		}
	}
	for id, why := range a.Unreadable {
		if b.Unreadable[id] != why {
			return false
		}
	}
	return true
}
