package upkeep

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/etcd/inspect/brief"
)

// DefragmentOptions say which members are defragmented, and how patiently.
type DefragmentOptions struct {
	// FreeAbove is how much of a database file must be free, in bytes, for it to be worth it; 0: 1 MiB. Below
	// it a member is passed over.
	FreeAbove int64
	// Timeout bounds the defragmentation of one member, up to an hour; 0: 10 minutes. A member stands still
	// meanwhile, some seconds a GiB.
	Timeout time.Duration
	// Settle bounds the wait for health before and after each member, up to an hour; 0: 1 minute.
	Settle time.Duration

	// due says whether a member is to be defragmented; nil: by FreeAbove.
	due func(inspect.Member) bool
}

// Defragmented is what became of one member.
type Defragmented struct {
	Endpoint string `json:"endpoint"`
	// Leads says whether it led.
	Leads bool `json:"leads,omitempty"`
	// BeforeBytes and AfterBytes are the sizes of its database file; the same if it was passed over.
	BeforeBytes int64 `json:"beforeBytes"`
	AfterBytes  int64 `json:"afterBytes"`
	// Milliseconds is how long it stood still; 0 if it was passed over.
	Milliseconds int64 `json:"milliseconds"`
	// PassedOver is why nothing was done; empty: it was.
	PassedOver string `json:"passedOver,omitempty"`
	// Error is what went wrong.
	Error string `json:"error,omitempty"`
}

// Defragmentation is what became of all members, in the order in which they were visited.
type Defragmentation struct {
	Members []Defragmented `json:"members"`
	// FreedBytes is what was given back.
	FreedBytes int64 `json:"freedBytes"`
	// Done says that all were visited.
	Done bool `json:"done"`
}

func (o *DefragmentOptions) check() error {
	if o.FreeAbove == 0 {
		o.FreeAbove = 1 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.Settle == 0 {
		o.Settle = time.Minute
	}
	if o.FreeAbove < 0 {
		return fmt.Errorf("at least %d bytes free: it may not be negative", o.FreeAbove)
	}
	if o.Timeout < 0 || o.Timeout > time.Hour || o.Settle < 0 || o.Settle > time.Hour {
		return fmt.Errorf("time-out %s and settling %s must be above 0 and at most 1h", o.Timeout, o.Settle)
	}
	return nil
}

// Defragment gives back what is free in the members' database files: one member at a time, the followers
// first, the leader last. It begins only when all members of the cluster are named, answer and are
// healthy, and waits for that before each next one; if it is not so in time, it stops with an error. Members of
// which little is free are passed over, so that a second call does nothing; so are learners.
//
// A member stands still while it is defragmented; one that is alone is the whole cluster. The alarm NOSPACE
// is no obstacle. What was done before an error stands in the result.
func Defragment(ctx context.Context, access inspect.Access, options DefragmentOptions) (Defragmentation, error) {
	d := Defragmentation{Members: []Defragmented{}}
	if err := options.check(); err != nil {
		return d, err
	}
	if err := access.Check(); err != nil {
		return d, err
	}
	visited := map[string]bool{}
	for len(visited) < len(access.Endpoints) {
		if err := settle(ctx, access, options.Settle); err != nil {
			return d, err
		}
		members, err := healthy(ctx, access) // anew each time: another one may lead by now
		if err != nil {
			return d, err
		}
		m := next(members, visited)
		visited[m.Endpoint] = true
		one := defragment(ctx, access, options, m)
		d.Members = append(d.Members, one)
		d.FreedBytes += max(0, one.BeforeBytes-one.AfterBytes)
		if one.Error != "" {
			return d, fmt.Errorf("defragment %s: %s", one.Endpoint, one.Error)
		}
	}
	if err := settle(ctx, access, options.Settle); err != nil {
		return d, err
	}
	d.Done = true
	return d, brief.Fit(&d, func() bool { return brief.DropLast(&d.Members) })
}

// next is a member that was not visited, the leader last.
func next(members []inspect.Member, visited map[string]bool) inspect.Member {
	left := slices.DeleteFunc(slices.Clone(members), func(m inspect.Member) bool { return visited[m.Endpoint] })
	for _, m := range left {
		if !m.Leads {
			return m
		}
	}
	return left[0]
}

func defragment(ctx context.Context, access inspect.Access, options DefragmentOptions, m inspect.Member) Defragmented {
	out := Defragmented{Endpoint: m.Endpoint, Leads: m.Leads, BeforeBytes: m.DBBytes, AfterBytes: m.DBBytes}
	switch {
	case m.Learner:
		out.PassedOver = "it is a learner, which etcd does not defragment: promote it first"
		return out
	case options.due != nil && !options.due(m):
		out.PassedOver = "it has space enough"
		return out
	case options.due == nil && m.FreeBytes() < options.FreeAbove:
		out.PassedOver = fmt.Sprintf("%d bytes are free, less than %d", m.FreeBytes(), options.FreeAbove)
		return out
	}
	client, err := access.Connect(ctx, m.Endpoint)
	if err != nil {
		out.Error = brief.Short(err)
		return out
	}
	defer func() { _ = client.Close() }()
	bounded, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	began := time.Now()
	_, err = client.Defragment(bounded, m.Endpoint)
	out.Milliseconds = max(1, time.Since(began).Milliseconds())
	if err != nil {
		out.Error = brief.Short(err)
		return out
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if status, err := client.Status(asking, m.Endpoint); err == nil {
		out.AfterBytes = status.DbSize
	}
	return out
}
