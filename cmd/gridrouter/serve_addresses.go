package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/gslb"
)

// addressesFormat is the version of what the file of addresses holds.
const addressesFormat = 1

// addressesEvery is how often addresses that did not change are written down again, for their age.
const addressesEvery = 10 * time.Minute

// addresses keeps what the resolvers know in a file beside the snapshot, so that a router that starts
// while DNS is away reaches the decks that it reached before. It is small, and changes at
// other times than the documents do.
type addresses struct {
	path, of  string // path: empty: nowhere
	log       *zap.Logger
	resolvers map[string]*gslb.Resolver // by the name of their section

	last    map[string][]gslb.Remembered
	written time.Time
	failing bool
}

func newAddresses(snapshot, of string, log *zap.Logger, resolvers map[string]*gslb.Resolver) *addresses {
	a := &addresses{of: of, log: log, resolvers: resolvers}
	if snapshot != "" {
		a.path = snapshot + ".addresses"
	}
	return a
}

// restore gives the resolvers what an earlier process knew.
func (a *addresses) restore() {
	if a.path == "" {
		return
	}
	for _, path := range []string{a.path, discovery.PreviousSnapshot(a.path)} {
		names, written, err := a.read(path)
		switch {
		case err == nil:
			if names > 0 {
				a.log.Info("addresses of an earlier start are in use until DNS gives newer ones", zap.Int("names", names), zap.Time("written", written))
			}
			return
		case !errors.Is(err, fs.ErrNotExist):
			a.log.Error("a file of addresses is of no use and is ignored", zap.String("file", path), zap.Error(err))
		}
	}
}

func (a *addresses) read(path string) (names int, written time.Time, err error) {
	header, sections, err := discovery.ReadSnapshot(path)
	if err != nil {
		return 0, written, err
	}
	if header.Format != addressesFormat || header.Of != a.of {
		return 0, written, fmt.Errorf("it is of %s and of format %d, this router follows %s and reads format %d", header.Of, header.Format, a.of, addressesFormat)
	}
	for _, section := range sections {
		resolver := a.resolvers[section.Name]
		if resolver == nil {
			continue
		}
		var known []gslb.Remembered
		if err := json.Unmarshal(section.Data, &known); err != nil {
			return 0, written, fmt.Errorf("section %s: %w", section.Name, err)
		}
		resolver.Remember(known)
		names += len(known)
	}
	return names, header.Written, nil
}

// run writes the addresses down when they have changed, and when ctx ends.
func (a *addresses) run(ctx context.Context) error {
	if a.path == "" {
		return nil
	}
	ticker := time.NewTicker(snapshotEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			a.write()
			return nil
		case <-ticker.C:
			a.write()
		}
	}
}

// write writes what is known, if it is news. Where nothing is known, what was written before stays.
func (a *addresses) write() {
	known, names := map[string][]gslb.Remembered{}, 0
	for section, resolver := range a.resolvers {
		known[section] = resolver.Known()
		slices.SortFunc(known[section], func(x, y gslb.Remembered) int { return strings.Compare(x.Name, y.Name) })
		names += len(known[section])
	}
	if names == 0 || a.same(known) && time.Since(a.written) < addressesEvery {
		return
	}
	var sections []discovery.SnapshotSection
	for section, list := range known {
		text, err := json.Marshal(list)
		if err != nil { // plain values always have a JSON form
			continue
		}
		sections = append(sections, discovery.SnapshotSection{Name: section, Data: text})
	}
	header := discovery.SnapshotHeader{Format: addressesFormat, Of: a.of, Written: time.Now().UTC().Truncate(time.Second)}
	if err := discovery.WriteSnapshot(a.path, header, sections); err != nil {
		if !a.failing {
			a.log.Error("the addresses of decks cannot be written down; without them this router cannot reach decks by name if it starts while DNS is away",
				zap.String("file", a.path), zap.Error(err))
		}
		a.failing = true
		return
	}
	a.failing, a.last, a.written = false, known, time.Now()
}

// same says whether the addresses are those that were written last.
func (a *addresses) same(known map[string][]gslb.Remembered) bool {
	for section, list := range known {
		if !slices.EqualFunc(list, a.last[section], func(x, y gslb.Remembered) bool {
			return x.Name == y.Name && slices.Equal(x.Addresses, y.Addresses)
		}) {
			return false
		}
	}
	return a.last != nil
}
