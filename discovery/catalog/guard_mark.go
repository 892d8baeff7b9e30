package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// MarkAccept is the key, relative to <prefix>guard/, of the mark that accepts mass changes.
const MarkAccept = "accept"

// Mark says up to which revision mass changes are meant, so that no router holds them.
type Mark struct {
	// Revision is the revision of etcd up to which they are. In the stored form 0 stands
	// for the revision of the transaction that wrote the mark, which its writer cannot know.
	Revision int64 `json:"revision"`
	// By is who says so: user@host.
	By string `json:"by"`
	// Why says why, in the words of who says so.
	Why string `json:"why,omitempty"`
	// At is when, UTC.
	At time.Time `json:"at"`
}

// DecodeMark reads the stored form of a mark that was written at a revision. A mark for a
// revision after its own is an error: it would accept what nobody has seen.
func DecodeMark(value []byte, written int64) (Mark, error) {
	var mark Mark
	if err := json.Unmarshal(value, &mark); err != nil {
		return Mark{}, fmt.Errorf("is not a mark: %w", err)
	}
	switch {
	case mark.Revision == 0:
		mark.Revision = written
	case mark.Revision < 0 || mark.Revision > written:
		return Mark{}, fmt.Errorf("accepts mass changes up to revision %d, but was itself written at %d; write 1 to %d, or 0 for its own", mark.Revision, written, written)
	}
	return mark, nil
}

// mark returns the stored form of a mark of this catalog's.
func (c *Catalog) mark(revision int64, why string) (string, error) {
	text, err := json.Marshal(Mark{Revision: revision, By: c.who, Why: why, At: c.now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return "", fmt.Errorf("the mark of the guard: %w", err)
	}
	return string(text), nil
}

// markBytes is about how many bytes a mark takes in a transaction.
func (p *planner) markBytes() int {
	return len(p.at.mark()) + 128 + len(p.who) + len(p.options.Why) + perOp
}

// GuardState is what the guards of the fleet's routers do.
type GuardState struct {
	// Revision is the newest revision that a router holds mass changes of; 0: none does.
	// Accepting it ends all holds that are known.
	Revision int64 `json:"revision"`
	// Accepted is the mark in force, nil if there is none that can be read; Fault says why
	// the stored one cannot be.
	Accepted *Mark  `json:"accepted,omitempty"`
	Fault    string `json:"fault,omitempty"`
	// Routers and GslbServers count who is alive, Holding is those of them that hold something,
	// the routers first, each sorted by ID.
	Routers     int      `json:"routers"`
	GslbServers int      `json:"gslbServers,omitempty"`
	Holding     []Member `json:"holding"`
}

// GuardState reads who of the fleet holds what. All tell of themselves every two
// seconds or so; one that holds something does so with its next word.
func (c *Catalog) GuardState(ctx context.Context) (GuardState, error) {
	s := &snapshot{Catalog: c}
	members, err := s.holders(ctx)
	if err != nil {
		return GuardState{}, err
	}
	state := GuardState{Holding: []Member{}}
	for i := range members {
		if members[i].GslbServer {
			state.GslbServers++
		} else {
			state.Routers++
		}
		if held := members[i].Guard; held != nil && members[i].Fault == "" {
			state.Revision = max(state.Revision, held.Revision)
			state.Holding = append(state.Holding, members[i])
		}
	}
	stored, err := c.readMark(ctx, s)
	switch {
	case err != nil:
		return GuardState{}, err
	case stored.err != nil:
		state.Fault = stored.err.Error()
	case stored.written != 0:
		state.Accepted = &stored.mark
	}
	return state, nil
}

// storedMark is the mark as etcd holds it.
type storedMark struct {
	mark    Mark
	err     error // why it cannot be read
	written int64 // its revision; 0: there is none
	newest  int64 // etcd's revision
}

func (c *Catalog) readMark(ctx context.Context, s *snapshot) (storedMark, error) {
	answer, err := c.get(ctx, c.at.mark(), s.options()...)
	if err != nil {
		return storedMark{}, s.mend(err)
	}
	stored := storedMark{newest: answer.Header.Revision}
	if len(answer.Kvs) > 0 {
		stored.written = answer.Kvs[0].ModRevision
		stored.mark, stored.err = DecodeMark(answer.Kvs[0].Value, stored.written)
	}
	return stored, nil
}

// GuardAccept says that mass changes up to a revision, at least 1 and at most etcd's
// present one, are meant: routers put into force what they hold of them. It never takes
// back what was accepted before: if that is as new or newer, nothing is written, unless a
// router still holds something that it accepts; then it is written again as it was, since
// marks from before etcd was restored count for nothing. It returns the mark in force.
func (c *Catalog) GuardAccept(ctx context.Context, revision int64, why string) (Mark, error) {
	if err := (Options{Why: why}).check(); err != nil {
		return Mark{}, err
	}
	for {
		stored, err := c.readMark(ctx, &snapshot{Catalog: c})
		switch {
		case err != nil:
			return Mark{}, err
		case revision <= 0 || revision > stored.newest:
			return Mark{}, refused([]error{&ReasonError{Place: "guard", Message: fmt.Sprintf(
				"%d is no revision to accept: etcd has come to revision %d; gridctl guard shows what is held", revision, stored.newest)}})
		}
		if stored.err == nil && stored.mark.Revision >= revision {
			if held, err := c.stillHeld(ctx, stored.mark.Revision); err != nil || !held {
				return stored.mark, err
			}
			revision = stored.mark.Revision
		}
		text, err := c.mark(revision, why)
		if err != nil {
			return Mark{}, err
		}
		unchanged := clientv3.Compare(clientv3.ModRevision(c.at.mark()), "=", stored.written)
		answer, err := c.txn(ctx, []clientv3.Cmp{unchanged}, []clientv3.Op{clientv3.OpPut(c.at.mark(), text)}, nil)
		if err != nil {
			return Mark{}, err
		}
		if answer.Succeeded {
			return DecodeMark([]byte(text), answer.Header.Revision)
		}
		// Somebody else wrote a mark meanwhile; theirs may be newer.
	}
}

// stillHeld says whether a router or GSLB server holds what is accepted up to a revision.
func (c *Catalog) stillHeld(ctx context.Context, revision int64) (bool, error) {
	members, err := (&snapshot{Catalog: c}).holders(ctx)
	return slices.ContainsFunc(members, func(m Member) bool { return m.Guard != nil && m.Guard.Revision <= revision }), err
}
