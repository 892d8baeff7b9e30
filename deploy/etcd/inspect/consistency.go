package inspect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

// Verdict is what a consistency check says.
type Verdict string

// The verdicts.
const (
	// Consistent: all voters have the same data.
	Consistent Verdict = "Consistent"
	// Differs: members differ, and a majority agrees. Those marked are not of it.
	Differs Verdict = "Differs"
	// CannotTell: members differ, and no majority agrees: nobody knows who is right.
	CannotTell Verdict = "CannotTell"
	// Incomplete: those that told agree, and some did not tell.
	Incomplete Verdict = "Incomplete"
	// Outrun: compaction or writes outran the check at each try.
	Outrun Verdict = "Outrun"
)

// Hashed is what one member told.
type Hashed struct {
	// Endpoint and ID are the member's.
	Endpoint string `json:"endpoint"`
	ID       ID     `json:"id"`
	// Hash is that of its data, in hexadecimal; CompactRevision is from where on the data count, -1 where they
	// were never compacted.
	Hash            string `json:"hash,omitempty"`
	CompactRevision int64  `json:"compactRevision,omitempty"`
	// Learner says that it is one: it tells no hash, and is not counted.
	Learner bool `json:"learner,omitempty"`
	// Differs says that it is not of the majority.
	Differs bool `json:"differs,omitempty"`
	// Error is why it did not tell.
	Error string `json:"error,omitempty"`

	err error
}

// Comparison is the result of a consistency check.
type Comparison struct {
	Verdict Verdict `json:"verdict"`
	// Message says the same in a sentence.
	Message string `json:"message"`
	// Revision is the one at which the data were compared, Tries how often it was tried.
	Revision int64 `json:"revision"`
	Tries    int   `json:"tries"`
	// Members has what each told.
	Members []Hashed `json:"members"`
}

const (
	// hashTries is how often a check begins anew when a member lags or was compacted in between.
	hashTries = 6
	// hashTimeout bounds one hash: a member reads all its data for it.
	hashTimeout = 2 * time.Minute
)

// Consistency has all members hash their data at one revision, the latest that all have, and compares. Members
// read all their data for it, beside what they serve. It takes until the slowest is done, and is tried six
// times where a member lags or compacts in between. A learner tells no hash: promote it to know of it. That members differ is a verdict and no error.
func Consistency(ctx context.Context, access Access) (Comparison, error) {
	var c Comparison
	for try := 1; try <= hashTries; try++ {
		members, err := Members(ctx, access)
		if err != nil {
			return c, err
		}
		if err := sameCluster(members); err != nil {
			return c, err
		}
		if c, err = hashAll(ctx, access, members); err != nil {
			return c, err
		}
		if c.Tries = try; !c.outrun() {
			break
		}
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
	}
	c.judge()
	return c, brief.Fit(&c, func() bool { return brief.DropLast(&c.Members) })
}

// sameCluster refuses endpoints of several clusters, and of one member twice.
func sameCluster(members []Member) error {
	by := map[ID]string{}
	var first *Member
	for i, m := range members {
		if !m.Answers() {
			continue
		}
		if first == nil {
			first = &members[i]
		}
		if m.Cluster != first.Cluster {
			return fmt.Errorf("%s is of cluster %s, %s of cluster %s: name the members of one cluster", first.Endpoint, first.Cluster, m.Endpoint, m.Cluster)
		}
		if other, twice := by[m.ID]; twice {
			return fmt.Errorf("%s and %s are the same member: name each member's own URL", other, m.Endpoint)
		}
		by[m.ID] = m.Endpoint
	}
	if first == nil {
		return fmt.Errorf("no member answers: %s", firstError(members))
	}
	return nil
}

func hashAll(ctx context.Context, access Access, members []Member) (Comparison, error) {
	c := Comparison{Members: make([]Hashed, len(members))}
	for _, m := range members {
		if m.Answers() && !m.Learner && (c.Revision == 0 || m.Revision < c.Revision) {
			c.Revision = m.Revision
		}
	}
	var all sync.WaitGroup
	for i, m := range members {
		c.Members[i] = Hashed{Endpoint: m.Endpoint, ID: m.ID, Learner: m.Learner, Error: m.Error}
		if m.Answers() && !m.Learner {
			all.Go(func() { c.Members[i].hash(ctx, access, c.Revision) })
		}
	}
	all.Wait()
	return c, ctx.Err()
}

func (h *Hashed) hash(ctx context.Context, access Access, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	client, err := access.Connect(ctx, h.Endpoint)
	if err != nil {
		h.err, h.Error = err, brief.Error(err)
		return
	}
	defer func() { _ = client.Close() }()
	answer, err := client.HashKV(ctx, h.Endpoint, revision)
	if err != nil {
		h.err, h.Error = err, brief.Error(err)
		return
	}
	h.Hash, h.CompactRevision = strconv.FormatUint(uint64(answer.Hash), 16), answer.CompactRevision
}

// outrun says whether another try may succeed: a member lacked the revision or had compacted it, or they
// were asked before and after a compaction, which changes the hash.
func (c *Comparison) outrun() bool {
	compacted := map[int64]bool{}
	for _, m := range c.Members {
		if errors.Is(m.err, rpctypes.ErrCompacted) || errors.Is(m.err, rpctypes.ErrFutureRev) {
			return true
		}
		if m.Hash != "" {
			compacted[m.CompactRevision] = true
		}
	}
	return len(compacted) > 1
}

// judge sets the verdict.
func (c *Comparison) judge() {
	byHash, told, voters := map[string]int{}, 0, 0
	for _, m := range c.Members {
		if !m.Learner {
			voters++
		}
		if m.Hash != "" {
			byHash[m.Hash]++
			told++
		}
	}
	most, hash := 0, ""
	for h, n := range byHash {
		if n > most {
			most, hash = n, h
		}
	}
	switch {
	case c.outrun():
		c.Verdict = Outrun
		c.Message = fmt.Sprintf("members were compacted, or lagged, at each of %d tries: try again while fewer compactions run", c.Tries)
	case len(byHash) == 1 && told == voters:
		c.Verdict, c.Message = Consistent, fmt.Sprintf("all %d voters have the same data at revision %d", told, c.Revision)
	case len(byHash) <= 1:
		c.Verdict = Incomplete
		c.Message = fmt.Sprintf("%d of %d voters told their hash; those that did agree at revision %d", told, voters, c.Revision)
	case most <= voters/2:
		c.Verdict = CannotTell
		c.Message = fmt.Sprintf("members differ at revision %d, and no majority of %d agrees: nobody knows who is right; compare with a backup", c.Revision, voters)
	default:
		c.mark(hash)
	}
}

func (c *Comparison) mark(hash string) {
	var who []string
	for i := range c.Members {
		if m := &c.Members[i]; m.Hash != "" && m.Hash != hash {
			m.Differs = true
			who = append(who, m.Endpoint)
		}
	}
	c.Verdict = Differs
	c.Message = brief.Text(fmt.Sprintf("%s: the data differ from those of the majority at revision %d", strings.Join(who, ", "), c.Revision))
}
