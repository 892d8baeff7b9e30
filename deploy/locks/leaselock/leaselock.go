// Package leaselock keeps locks in Leases of Kubernetes (coordination.k8s.io/v1).
//
// A lock is a Lease of its name: holderIdentity names the holder, the resourceVersion is compared by
// every write, and leaseTransitions, which grows by one each time the lock is taken, is the fence. A
// Lease must not be deleted while objects carry fences of it, since its successor begins at 1 again.
//
// Whether a lock's time is over is decided by observation, as client-go's leader election does: if a
// Lease has not changed for as long as it says, counted by the clock of who looks, it is free. No two
// clocks are compared. In return, who has never seen a Lease has to look twice before it takes over
// from a dead holder; [Provider.Observe] looks without taking.
package leaselock

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/locks"
)

// Leases reaches the Leases of one namespace. LeaseInterface of client-go has these methods.
type Leases interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*coordination.Lease, error)
	Create(ctx context.Context, lease *coordination.Lease, opts metav1.CreateOptions) (*coordination.Lease, error)
	Update(ctx context.Context, lease *coordination.Lease, opts metav1.UpdateOptions) (*coordination.Lease, error)
}

// Provider keeps locks in the Leases of one namespace.
type Provider struct {
	leases Leases

	mu sync.Mutex
	// seen says of each lock in which version we saw it first, and when.
	seen map[string]sighting
}

// sighting is when a version of a Lease was first seen here.
type sighting struct {
	version string
	at      time.Time
}

var _ locks.Provider = (*Provider)(nil)

// New returns a provider.
func New(leases Leases) *Provider { return &Provider{leases: leases, seen: map[string]sighting{}} }

// Observe looks at a lock without taking it. Who wants to take over from a dead holder soon after its
// time calls it now and then; without that, the first try to take such a lock only begins to observe it.
func (p *Provider) Observe(ctx context.Context, name string) error {
	lease, err := p.leases.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		p.see(lease)
	}
	return err
}

// see notes when a version was first seen, and returns that.
func (p *Provider) see(lease *coordination.Lease) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seen[lease.Name]
	if s.version != lease.ResourceVersion {
		s = sighting{version: lease.ResourceVersion, at: time.Now()}
		p.seen[lease.Name] = s
	}
	return s.at
}

// Acquire takes a free lock, as [locks.Provider] says.
func (p *Provider) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (locks.Grant, error) {
	lease, err := p.leases.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		lease = &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
	} else if err != nil {
		return nil, err
	} else if until, free := freeFrom(lease.Spec, p.see(lease), time.Now()); !free {
		return nil, &locks.HeldError{Name: name, Holder: deref(lease.Spec.HolderIdentity), Until: until}
	}
	taken := lease.DeepCopy()
	hold(&taken.Spec, holder, ttl)
	taken.Spec.AcquireTime = taken.Spec.RenewTime
	fence := deref(lease.Spec.LeaseTransitions) + 1
	taken.Spec.LeaseTransitions = &fence
	if lease.ResourceVersion == "" {
		taken, err = p.leases.Create(ctx, taken, metav1.CreateOptions{})
	} else {
		taken, err = p.leases.Update(ctx, taken, metav1.UpdateOptions{})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return nil, p.lostRace(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	p.see(taken)
	return &grant{provider: p, lease: taken}, nil
}

// lostRace says who was faster.
func (p *Provider) lostRace(ctx context.Context, name string) error {
	held := &locks.HeldError{Name: name, Holder: "another one"}
	lease, err := p.leases.Get(ctx, name, metav1.GetOptions{})
	if err == nil && deref(lease.Spec.HolderIdentity) != "" {
		held.Holder = *lease.Spec.HolderIdentity
		held.Until, _ = freeFrom(lease.Spec, p.see(lease), time.Now())
	}
	return held
}

// freeFrom decides from which moment a lock is free if its Lease stays as it was first seen, and
// whether that has come. A Lease without a holder is free. One with a holder and no duration, which
// somebody has made by hand, is held until somebody changes it.
func freeFrom(spec coordination.LeaseSpec, seen, now time.Time) (from time.Time, free bool) {
	if deref(spec.HolderIdentity) == "" {
		return seen, true
	}
	if deref(spec.LeaseDurationSeconds) <= 0 {
		return time.Time{}, false
	}
	from = seen.Add(time.Duration(*spec.LeaseDurationSeconds) * time.Second)
	return from, !now.Before(from)
}

// hold writes who holds a lock, and for how long.
func hold(spec *coordination.LeaseSpec, holder string, ttl time.Duration) {
	now := metav1.NewMicroTime(time.Now()) // for people: nobody reckons with it
	duration := int32(min((ttl+time.Second-1)/time.Second, 1<<31-1))
	spec.HolderIdentity, spec.LeaseDurationSeconds, spec.RenewTime = &holder, &duration, &now
}

func deref[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// grant is one holding, with the Lease as it was written last.
type grant struct {
	provider *Provider
	lease    *coordination.Lease
}

// Token has the number of the holding.
func (g *grant) Token() locks.Token {
	return locks.Token{Name: g.lease.Name, Fence: int64(deref(g.lease.Spec.LeaseTransitions))}
}

// Extend renews the Lease, if the holding is still ours.
func (g *grant) Extend(ctx context.Context, ttl time.Duration) error {
	return g.change(ctx, func(spec *coordination.LeaseSpec) { hold(spec, deref(spec.HolderIdentity), ttl) })
}

// Release empties the Lease, if the holding is still ours, or shortens it to the time that it is to be
// kept.
func (g *grant) Release(ctx context.Context, keep time.Duration) error {
	return g.change(ctx, func(spec *coordination.LeaseSpec) {
		if keep > 0 {
			hold(spec, deref(spec.HolderIdentity), keep)
			return
		}
		hold(spec, "", time.Second)
	})
}

// change writes the Lease. If it has another version than we wrote, but the holding is still ours, as
// when someone has added a label, it is tried once more with that version.
func (g *grant) change(ctx context.Context, change func(*coordination.LeaseSpec)) error {
	for attempt := 1; ; attempt++ {
		next := g.lease.DeepCopy()
		change(&next.Spec)
		written, err := g.provider.leases.Update(ctx, next, metav1.UpdateOptions{})
		switch {
		case err == nil:
			g.lease = written
			g.provider.see(written)
			return nil
		case apierrors.IsNotFound(err):
			return fmt.Errorf("%w: its Lease was deleted", locks.ErrLost)
		case !apierrors.IsConflict(err) || attempt == 2:
			return err
		}
		present, err := g.provider.leases.Get(ctx, g.lease.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("%w: its Lease was deleted", locks.ErrLost)
		}
		if err != nil {
			return err
		}
		if present.UID != g.lease.UID || deref(present.Spec.LeaseTransitions) != deref(g.lease.Spec.LeaseTransitions) ||
			deref(present.Spec.HolderIdentity) != deref(g.lease.Spec.HolderIdentity) {
			return fmt.Errorf("%w: %s has it", locks.ErrLost, deref(present.Spec.HolderIdentity))
		}
		g.lease = present
	}
}

// annotation is the prefix of those in which objects carry the fence of the last guarded write.
const annotation = "locks.gridrouter.io/"

// Guard prepares a guarded write of an object that was just read: it refuses with [locks.ErrLost] if a
// later holding of the lock has written it before, and marks it with ours. The caller then writes it
// with the resourceVersion that it was read with, so that a later holding cannot come in between.
func Guard(object metav1.Object, token locks.Token) error {
	annotations := object.GetAnnotations()
	if text, marked := annotations[annotation+token.Name]; marked {
		fence, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("annotation %s of %s: %w", annotation+token.Name, object.GetName(), err)
		}
		if fence > token.Fence {
			return fmt.Errorf("%w: %s was written by holding %d of lock %s, and this one is %d",
				locks.ErrLost, object.GetName(), fence, token.Name, token.Fence)
		}
	}
	if object.GetResourceVersion() == "" || token.Fence <= 0 {
		return fmt.Errorf("a guarded write of %s needs its resourceVersion and the token of a lock", object.GetName())
	}
	marked := make(map[string]string, len(annotations)+1)
	for key, text := range annotations {
		marked[key] = text
	}
	marked[annotation+token.Name] = strconv.FormatInt(token.Fence, 10)
	object.SetAnnotations(marked)
	return nil
}
