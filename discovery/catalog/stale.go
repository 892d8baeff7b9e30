package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// StaleError says that documents were made from older forms than the stored ones: writing them
// would undo what others changed meanwhile.
type StaleError struct {
	// Reasons say for each document who changed it, and when.
	Reasons []string
}

// Error returns all reasons in one line, with the mend.
func (e *StaleError) Error() string {
	return strings.Join(e.Reasons, "; ") + "; get it again and make your change there, or write --force to undo theirs; nothing was written"
}

const (
	// overwriteAge is how old a change of somebody else's may be for it to be told that it is
	// overwritten, maxOverwrites of how many documents it is looked for.
	overwriteAge  = 10 * time.Minute
	maxOverwrites = 20
)

// checkRead holds documents that say which stored form they were made from to the one that is
// stored. Of those that do not say it notes whose change of the last minutes they overwrite.
func (s *snapshot) checkRead(ctx context.Context, w *world, options Options) (notes []string, err error) {
	if options.Force {
		return nil, nil
	}
	stale := &StaleError{}
	looked := 0
	for _, it := range w.given {
		switch {
		case it.remove || same(it):
		case it.read == it.mod && it.read != 0:
		case it.read != 0:
			reason, err := s.staleness(ctx, it)
			if err != nil {
				return nil, err
			}
			if reason != "" {
				stale.Reasons = append(stale.Reasons, reason)
			}
		case it.mod != 0 && looked < maxOverwrites:
			looked++
			note, err := s.overwritten(ctx, it)
			if err != nil {
				return nil, err
			}
			if note != "" {
				notes = append(notes, note)
			}
		}
	}
	if len(stale.Reasons) > 0 {
		return nil, stale
	}
	return notes, nil
}

// staleness says who changed a document since it was read; empty: nothing that counts did. That
// a tenant's epoch was raised for the sake of a pin is no change of what somebody wrote.
func (s *snapshot) staleness(ctx context.Context, it *item) (string, error) {
	if it.mod == 0 {
		return fmt.Sprintf("%s was deleted after it had been read at revision %d", describe(it.key), it.read), nil
	}
	if it.mod > it.read && it.wasTenant() != nil {
		answer, err := s.get(ctx, s.at.doc(it.key), clientv3.WithRev(it.read))
		if err == nil && len(answer.Kvs) > 0 { // else it is compacted, and nobody can tell
			before, err := s.reader.Decode(it.key, answer.Kvs[0].Value)
			if tenant := tenantOf(before); err == nil && tenant != nil && equal(epochless(tenant), epochless(it.wasTenant())) {
				return "", nil
			}
		}
	}
	by, err := s.newestChange(ctx, it.key)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s was changed%s after it had been read at revision %d", describe(it.key), by.describe(s.now()), it.read), nil
}

// overwritten notes a change of somebody else's that was made a short while ago.
func (s *snapshot) overwritten(ctx context.Context, it *item) (string, error) {
	by, err := s.newestChange(ctx, it.key)
	if err != nil || by == nil || by.Who == s.who || s.now().Sub(by.When) > overwriteAge {
		return "", err
	}
	return fmt.Sprintf("this goes over the change of %s%s; a document from gridctl get -o yaml says which form it was made from, and is refused if that is no longer stored",
		describe(it.key), by.describe(s.now())), nil
}

// newestChange returns the newest record of a document; nil: there is none that reads.
func (s *snapshot) newestChange(ctx context.Context, key string) (*Record, error) {
	records, err := s.history(ctx, key)
	if err != nil || len(records) == 0 {
		return nil, err
	}
	return &records[0], nil // the newest first
}

// describe say who made a change, when and why; none for nil.
func (r *Record) describe(now time.Time) string {
	if r == nil {
		return ""
	}
	text := fmt.Sprintf(" by %s %s ago", r.Who, max(0, now.Sub(r.When)).Round(time.Second))
	if r.Why != "" {
		text += fmt.Sprintf(" (%q)", r.Why)
	}
	return text
}
