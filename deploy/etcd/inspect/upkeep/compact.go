package upkeep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect"
)

// CompactOptions say what of the history is kept.
type CompactOptions struct {
	// Keep is how many revisions stay readable before the least that every member has; 0: 1000. Followers that
	// come back after a pause read what they missed out of them.
	Keep int64
	// Timeout bounds it, up to an hour; 0: 5 minutes.
	Timeout time.Duration
}

// Compaction is what was compacted.
type Compaction struct {
	// Revision is the one up to which the history is gone; 0: there was not enough of it.
	Revision int64 `json:"revision"`
	// Already says that it was gone before.
	Already bool `json:"already,omitempty"`
	// FreeBytes is what the member with the least of it has free in its database afterwards. A defragmentation
	// gives that back at least: what was freed last is counted later.
	FreeBytes int64 `json:"freeBytes"`
}

func (o *CompactOptions) check() error {
	if o.Keep == 0 {
		o.Keep = 1000
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Keep < 0 {
		return fmt.Errorf("%d revisions are to be kept: it may not be negative", o.Keep)
	}
	if o.Timeout < 0 || o.Timeout > time.Hour {
		return fmt.Errorf("the time-out is %s: it must be above 0 and at most 1h", o.Timeout)
	}
	return nil
}

// Compact drops the history of all keys but for the newest revisions, and waits until what it took is free in
// the members' databases. Keys keep their present values. The safe revision is reckoned from the member that is the
// furthest behind; a member that does not answer is not waited for. To compact again what is compacted
// does nothing.
func Compact(ctx context.Context, access inspect.Access, options CompactOptions) (Compaction, error) {
	if err := options.check(); err != nil {
		return Compaction{}, err
	}
	return compact(ctx, access, options)
}

// compact is Compact, and with 0 to keep, only the present is kept.
func compact(ctx context.Context, access inspect.Access, options CompactOptions) (Compaction, error) {
	members, err := inspect.Members(ctx, access)
	if err != nil {
		return Compaction{}, err
	}
	c, from := Compaction{}, ""
	for _, m := range members {
		if m.Answers() && (from == "" || m.Revision-options.Keep < c.Revision) {
			c.Revision, from = m.Revision-options.Keep, m.Endpoint
		}
	}
	if from == "" {
		return Compaction{}, errors.New("compact: no member answers")
	}
	if c.Revision <= 0 {
		return Compaction{}, nil
	}
	client, err := access.Connect(ctx, inspect.Voters(members)...)
	if err != nil {
		return Compaction{}, err
	}
	defer func() { _ = client.Close() }()
	bounded, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	for revision := max(1, c.Revision-compactSteps+1); revision <= c.Revision; revision++ {
		_, err = client.Compact(bounded, revision, clientv3.WithCompactPhysical())
		if c.Already = errors.Is(err, rpctypes.ErrCompacted); err != nil && !c.Already {
			return Compaction{}, fmt.Errorf("compact to revision %d: %w", revision, err)
		}
		if c.Already {
			continue
		}
		select {
		case <-bounded.Done():
			return Compaction{}, bounded.Err()
		case <-time.After(compactPause):
		}
	}
	c.FreeBytes, err = freed(ctx, access)
	return c, err
}

const (
	// A database counts as free what it has freed only two commits later, which an idle cluster does not make.
	// So it is compacted in steps, each of which makes two; the pause is longer than etcd waits for a commit.
	compactSteps = 3
	compactPause = 300 * time.Millisecond

	freedPause = 200 * time.Millisecond
	freedLooks = 25
	freedSame  = 5
)

// freed waits until what the members have free stays the same for a second, at most some 5 s, and returns the
// least of them: only the member that was asked to compact says when it is done.
func freed(ctx context.Context, access inspect.Access) (int64, error) {
	least := int64(-1)
	for look, same := 0, 0; look < freedLooks && same < freedSame; look++ {
		select {
		case <-ctx.Done():
			return max(0, least), ctx.Err()
		case <-time.After(freedPause):
		}
		members, err := inspect.Members(ctx, access)
		if err != nil {
			return max(0, least), err
		}
		before := least
		least = -1
		for _, m := range members {
			if m.Answers() && !m.Learner && (least < 0 || m.FreeBytes() < least) {
				least = m.FreeBytes()
			}
		}
		if same++; least != before {
			same = 0
		}
	}
	return max(0, least), nil
}
