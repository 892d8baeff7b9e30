package inspect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

// Operation is what a probe tries.
type Operation string

// The operations, in the order in which they are tried.
const (
	Grant           Operation = "grant"            // of a lease
	Watch           Operation = "watch"            // until etcd says that it watches
	Put             Operation = "put"              //
	Event           Operation = "event"            // from the beginning of a put to its event
	GetLinearizable Operation = "get linearizable" // what the whole cluster agreed upon
	GetSerializable Operation = "get serializable" // what the member itself has
	Delete          Operation = "delete"           //
)

// Timing is how long an operation took.
type Timing struct {
	Operation Operation `json:"operation"`
	// Done and Failed count how often it was and was not done. One that was never tried has none of both.
	Done   int `json:"done"`
	Failed int `json:"failed,omitempty"`
	// MedianMilliseconds and MostMilliseconds are of those done.
	MedianMilliseconds float64 `json:"medianMilliseconds"`
	MostMilliseconds   float64 `json:"mostMilliseconds"`
	// Error is the last failure.
	Error string `json:"error,omitempty"`

	took []time.Duration
}

// Probed is what was tried at one endpoint, or through all of them.
type Probed struct {
	// Endpoint is the one that was asked; "all": the client chose.
	Endpoint string `json:"endpoint"`
	// Learner says that it is a learner, at which only serializable reads are tried.
	Learner bool `json:"learner,omitempty"`
	// Works says that all was done.
	Works bool `json:"works"`
	// Timings are by operation, in the order in which they are tried.
	Timings []Timing `json:"timings"`
	// Left says that a key or lease may have been left behind; the lease ends it.
	Left string `json:"left,omitempty"`
}

// ProbeResult is what a probe learned.
type ProbeResult struct {
	At time.Time `json:"at"`
	// Works says that all was done, at every endpoint.
	Works bool `json:"works"`
	// Probed has each endpoint, and last all of them together.
	Probed []Probed `json:"probed"`
}

// ProbeOptions say how a cluster is probed.
type ProbeOptions struct {
	// Prefix is where the probe's keys lie; it may not be empty.
	Prefix string
	// Rounds is how often each operation is tried, 1 to 100; 0: 3.
	Rounds int
	// Timeout bounds each operation, from 10 ms to a minute; 0: 2 s.
	Timeout time.Duration
}

// leaseSeconds is the lease of the probe's keys: what becomes of them if the probe ends in the middle.
const leaseSeconds = 60

func (o *ProbeOptions) check() error {
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Prefix == "" {
		return errors.New("the prefix of the probe's keys is empty: give one of its own, like /probe/")
	}
	if o.Rounds < 1 || o.Rounds > 100 {
		return fmt.Errorf("%d rounds: they must be 1 to 100", o.Rounds)
	}
	if o.Timeout < 10*time.Millisecond || o.Timeout > time.Minute {
		return fmt.Errorf("the time-out of an operation is %s: it must be from 10ms to 1m", o.Timeout)
	}
	return nil
}

// Probe tries from outside what clients do: it writes, reads, watches and deletes a key of its own, at each
// endpoint and through all of them, all at once. It deletes what it wrote; a lease does where it cannot. That
// something fails is told in the result and is no error; the end of ctx is one.
func Probe(ctx context.Context, access Access, options ProbeOptions) (ProbeResult, error) {
	if err := errors.Join(access.Check(), options.check()); err != nil {
		return ProbeResult{}, err
	}
	members, err := Members(ctx, access)
	if err != nil {
		return ProbeResult{}, err
	}
	r := ProbeResult{At: time.Now().UTC().Truncate(time.Second), Works: true, Probed: make([]Probed, len(access.Endpoints)+1)}
	var all sync.WaitGroup
	for i := range r.Probed {
		if i == len(members) {
			all.Go(func() { r.Probed[i] = probe(ctx, access, options, "all", Voters(members)) })
		} else if m := members[i]; m.Learner {
			all.Go(func() { r.Probed[i] = probeLearner(ctx, access, options, m.Endpoint) })
		} else {
			all.Go(func() { r.Probed[i] = probe(ctx, access, options, m.Endpoint, []string{m.Endpoint}) })
		}
	}
	all.Wait()
	for _, one := range r.Probed {
		r.Works = r.Works && one.Works
	}
	if err := brief.Fit(&r, func() bool { return brief.DropLast(&r.Probed) }); err != nil {
		return r, err
	}
	return r, ctx.Err()
}

// prober probes one endpoint.
type prober struct {
	client  *clientv3.Client
	options ProbeOptions
	key     string
	lease   clientv3.LeaseID
	timings map[Operation]*Timing
}

func probe(ctx context.Context, access Access, options ProbeOptions, name string, endpoints []string) Probed {
	p := &prober{options: options, key: options.Prefix + rand.Text(), timings: map[Operation]*Timing{}}
	out := Probed{Endpoint: name}
	connecting, cancel := context.WithCancel(context.WithoutCancel(ctx)) // what is to be cleaned up is, after ctx too
	defer cancel()
	client, err := access.Connect(connecting, endpoints...)
	if err != nil {
		p.note(Grant, 0, err)
	} else {
		p.client = client
		p.run(ctx)
		out.Left = p.cleanUp(ctx)
		_ = client.Close()
	}
	out.Works = out.Left == ""
	for _, operation := range []Operation{Grant, Watch, Put, Event, GetLinearizable, GetSerializable, Delete} {
		timing := p.timing(operation)
		timing.reckon()
		out.Works = out.Works && timing.Done == timing.wanted(options.Rounds)
		out.Timings = append(out.Timings, *timing)
	}
	return out
}

// probeLearner tries what a learner does.
func probeLearner(ctx context.Context, access Access, options ProbeOptions, endpoint string) Probed {
	p := &prober{options: options, key: options.Prefix + rand.Text(), timings: map[Operation]*Timing{}}
	client, err := access.Connect(ctx, endpoint)
	if err == nil {
		defer func() { _ = client.Close() }()
	}
	for range options.Rounds {
		p.try(ctx, GetSerializable, func(ctx context.Context) error {
			if err != nil {
				return err
			}
			_, err := client.Get(ctx, p.key, clientv3.WithSerializable())
			return err
		})
	}
	timing := p.timing(GetSerializable)
	timing.reckon()
	return Probed{Endpoint: endpoint, Learner: true, Works: timing.Failed == 0, Timings: []Timing{*timing}}
}

// wanted is how often an operation is done if all goes well.
func (t *Timing) wanted(rounds int) int {
	if t.Operation == Grant || t.Operation == Watch {
		return 1
	}
	return rounds
}

func (t *Timing) reckon() {
	if len(t.took) == 0 {
		return
	}
	slices.Sort(t.took)
	t.MedianMilliseconds = milliseconds(t.took[len(t.took)/2])
	t.MostMilliseconds = milliseconds(t.took[len(t.took)-1])
}

// milliseconds are rounded to microseconds.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond).Microseconds()) / 1000
}

func (p *prober) timing(operation Operation) *Timing {
	if p.timings[operation] == nil {
		p.timings[operation] = &Timing{Operation: operation}
	}
	return p.timings[operation]
}

func (p *prober) note(operation Operation, took time.Duration, err error) {
	timing := p.timing(operation)
	if err != nil {
		timing.Failed++
		timing.Error = brief.Short(err)
		return
	}
	timing.Done++
	timing.took = append(timing.took, took)
}

// try does an operation within its time, and notes how it went.
func (p *prober) try(ctx context.Context, operation Operation, do func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	began := time.Now()
	err := do(ctx)
	p.note(operation, time.Since(began), err)
	return err == nil
}

func (p *prober) run(ctx context.Context) {
	granted := p.try(ctx, Grant, func(ctx context.Context) error {
		lease, err := p.client.Grant(ctx, leaseSeconds)
		if err == nil {
			p.lease = lease.ID
		}
		return err
	})
	watching, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer stop()
	var events clientv3.WatchChan
	watched := p.try(ctx, Watch, func(ctx context.Context) error {
		// Until etcd answers, Watch itself does not return, so that its own context must end too.
		inTime := context.AfterFunc(ctx, stop)
		defer inTime()
		events = p.client.Watch(watching, p.key, clientv3.WithCreatedNotify())
		return await(ctx, events, func(answer clientv3.WatchResponse) bool { return answer.Created })
	})
	for range p.options.Rounds {
		if ctx.Err() != nil {
			return
		}
		p.round(ctx, granted, watched, events)
	}
}

// round tries everything once. Where writes are refused, reads are tried all the same.
func (p *prober) round(ctx context.Context, granted, watched bool, events clientv3.WatchChan) {
	if granted { // no key is written that nothing would end
		p.putAndWatch(ctx, watched, events)
	}
	p.try(ctx, GetLinearizable, func(ctx context.Context) error {
		_, err := p.client.Get(ctx, p.key)
		return err
	})
	p.try(ctx, GetSerializable, func(ctx context.Context) error {
		_, err := p.client.Get(ctx, p.key, clientv3.WithSerializable())
		return err
	})
	p.try(ctx, Delete, func(ctx context.Context) error {
		_, err := p.client.Delete(ctx, p.key)
		return err
	})
}

func (p *prober) putAndWatch(ctx context.Context, watched bool, events clientv3.WatchChan) {
	began, revision := time.Now(), int64(0)
	put := p.try(ctx, Put, func(ctx context.Context) error {
		answer, err := p.client.Put(ctx, p.key, "probe", clientv3.WithLease(p.lease))
		if err == nil {
			revision = answer.Header.Revision
		}
		return err
	})
	if !put || !watched {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	err := await(waiting, events, func(answer clientv3.WatchResponse) bool {
		return slices.ContainsFunc(answer.Events, func(e *clientv3.Event) bool { return e.Kv.ModRevision == revision })
	})
	p.note(Event, time.Since(began), err)
}

// await reads events until one is as wanted.
func await(ctx context.Context, events clientv3.WatchChan, wanted func(clientv3.WatchResponse) bool) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("no event came: %w", ctx.Err())
		case answer, open := <-events:
			if !open {
				return errors.New("the watch ended")
			}
			if err := answer.Err(); err != nil {
				return err
			}
			if wanted(answer) {
				return nil
			}
		}
	}
}

// cleanUp deletes the key and ends the lease, also when ctx has ended. It says what may be left.
func (p *prober) cleanUp(ctx context.Context) string {
	if p.lease == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.options.Timeout)
	defer cancel()
	if _, err := p.client.Revoke(ctx, p.lease); err != nil { // it deletes the key too
		return brief.Text(fmt.Sprintf("a key under %s, for %d s at most: %v", p.options.Prefix, leaseSeconds, err))
	}
	return ""
}
