// Package etcdlock keeps locks in etcd.
//
// A lock is a key with a lease: the key's value names the holder, its create revision is the fence, and
// etcd deletes it when the lease is over, by etcd's own clock. A write to the same etcd is guarded by
// [Provider.Guard]: it takes place only if the key is still the one that its holder created.
package etcdlock

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/locks"
)

// Client is what is needed of a client of etcd.
type Client interface {
	clientv3.KV
	clientv3.Lease
}

// Provider keeps locks under a prefix of etcd's keys.
type Provider struct {
	client Client
	prefix string
}

var _ locks.Provider = (*Provider)(nil)

// New returns a provider whose keys are the prefix followed by the lock's name.
func New(client Client, prefix string) *Provider { return &Provider{client: client, prefix: prefix} }

// Guard is the condition of a transaction whose writes may only take place while the lock is held. A
// token that no lock has is never held.
func (p *Provider) Guard(token locks.Token) []clientv3.Cmp {
	fence := token.Fence
	if fence <= 0 {
		fence = -1 // 0 would mean that the key is not there
	}
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(p.prefix+token.Name), "=", fence)}
}

// value is what a lock's key says, for people and for who finds it taken.
type value struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
}

// Acquire takes a free lock, as [locks.Provider] says.
func (p *Provider) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (locks.Grant, error) {
	key := p.prefix + name
	present, err := p.client.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if len(present.Kvs) > 0 {
		return nil, p.held(ctx, name, present.Kvs[0])
	}
	text, err := json.Marshal(value{Holder: holder, Since: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return nil, err
	}
	lease, err := p.client.Grant(ctx, seconds(ttl))
	if err != nil {
		return nil, err
	}
	taken, err := p.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(text), clientv3.WithLease(lease.ID))).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil {
		p.revoke(ctx, lease.ID) // it may have been taken all the same
		return nil, err
	}
	if !taken.Succeeded {
		p.revoke(ctx, lease.ID)
		if found := taken.Responses[0].GetResponseRange().Kvs; len(found) > 0 {
			return nil, p.held(ctx, name, found[0])
		}
		return nil, &locks.HeldError{Name: name, Holder: "another one"}
	}
	return &grant{
		provider: p, token: locks.Token{Name: name, Fence: taken.Header.Revision}, text: string(text), lease: lease.ID,
	}, nil
}

// held says who has a lock. Until when is reckoned from what etcd says is left of the lease, so that no
// two clocks are compared.
func (p *Provider) held(ctx context.Context, name string, pair *mvccpb.KeyValue) error {
	held := &locks.HeldError{Name: name, Holder: "someone unknown"}
	var says value
	if json.Unmarshal(pair.Value, &says) == nil && says.Holder != "" {
		held.Holder = says.Holder
	}
	if pair.Lease == 0 {
		return held
	}
	if left, err := p.client.TimeToLive(ctx, clientv3.LeaseID(pair.Lease)); err == nil {
		held.Until = time.Now().Add(time.Duration(max(left.TTL, 0)) * time.Second)
	}
	return held
}

// revoke ends a lease that is of no use, as well as that goes: it ends by itself too.
func (p *Provider) revoke(ctx context.Context, lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = p.client.Revoke(ctx, lease)
}

// seconds rounds up, since a lease counts whole seconds.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// grant is one holding.
type grant struct {
	provider *Provider
	token    locks.Token
	text     string
	lease    clientv3.LeaseID
}

// Token has the revision at which the key was created.
func (g *grant) Token() locks.Token { return g.token }

// Extend puts the key under a new lease, if it is still ours. Keeping the old lease alive would not
// tell whether the key is still there, and could not change the time.
func (g *grant) Extend(ctx context.Context, ttl time.Duration) error {
	lease, err := g.provider.client.Grant(ctx, seconds(ttl))
	if err != nil {
		return err
	}
	put := clientv3.OpPut(g.provider.prefix+g.token.Name, g.text, clientv3.WithLease(lease.ID))
	done, err := g.provider.client.Txn(ctx).If(g.provider.Guard(g.token)...).Then(put).Commit()
	if err != nil {
		// Neither lease is revoked: the key may be under the old one or under the new one.
		return err
	}
	if !done.Succeeded {
		g.provider.revoke(ctx, lease.ID)
		return fmt.Errorf("%w: etcd has no such lock of ours", locks.ErrLost)
	}
	former := g.lease
	g.lease = lease.ID
	g.provider.revoke(ctx, former)
	return nil
}

// Release deletes the key, if it is still ours, or puts it under a lease of the time that it is to be
// kept.
func (g *grant) Release(ctx context.Context, keep time.Duration) error {
	if keep > 0 {
		return g.Extend(ctx, keep)
	}
	remove := clientv3.OpDelete(g.provider.prefix + g.token.Name)
	done, err := g.provider.client.Txn(ctx).If(g.provider.Guard(g.token)...).Then(remove).Commit()
	if err != nil {
		return err
	}
	g.provider.revoke(ctx, g.lease)
	if !done.Succeeded {
		return fmt.Errorf("%w: etcd has no such lock of ours", locks.ErrLost)
	}
	return nil
}
