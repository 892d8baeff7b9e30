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
// the members' databases. Keys keep their present values. The safe revision is reckoned from the member that
// is the furthest behind; a member that does not answer is not waited for. To compact again what is compacted
// does nothing.
func Compact(ctx context.Context, access inspect.Access, options CompactOptions) (Compaction, error) {
	if err := options.check(); err != nil {
		return Compaction{}, err
	}
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
	client, err := access.Connect(ctx)
	if err != nil {
		return Compaction{}, err
	}
	defer func() { _ = client.Close() }()
	bounded, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	_, err = client.Compact(bounded, c.Revision, clientv3.WithCompactPhysical())
	if errors.Is(err, rpctypes.ErrCompacted) {
		c.Already, err = true, nil
	}
	if err != nil {
		return Compaction{}, fmt.Errorf("compact to revision %d: %w", c.Revision, err)
	}
	return c, nil
}
