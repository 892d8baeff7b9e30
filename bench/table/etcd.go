package table

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"gridrouter.io/bench/child"
	"gridrouter.io/discovery"
	"gridrouter.io/routing"
)

const (
	// fillOps is how many documents a transaction writes, as apply does.
	fillOps     = 128
	fillWriters = 8
	// patience bounds every wait for etcd.
	patience = 2 * time.Minute
	// stopLimit is how long etcd may take to end when it is asked to.
	stopLimit = 10 * time.Second
)

// etcdMember is an etcd in a process of its own.
type etcdMember struct {
	dir     string
	client  string
	process *child.Process
}

// etcd measures the start of a router that has nothing but etcd.
func (b *bench) etcd(ctx context.Context) error {
	if err := b.fillMember(ctx); err != nil {
		return err
	}
	b.afresh()
	var f *follower
	var t *routing.Table
	took, err := b.timed("start-from-etcd", func() error {
		f = b.follow(ctx, b.member, nil)
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var err error
		if t, err = f.wait(ctx); err != nil {
			return err
		}
		return newAsker().check(t, b.Tenants/2)
	})
	f.end()
	if err != nil {
		return err
	}
	b.judgeFull("first right answer, from etcd", "s", took.Seconds(), 6, 2.5)
	b.report.note("start from etcd: from making a client to the first right answer, with no memory kept from before; one member, a process of its own on this" +
		" machine's cores, over loopback, writing to disk as it does by default")
	if err := complete(t, b.Tenants, 0); err != nil {
		return err
	}
	return checkAll(t, b.Tenants)
}

// fillMember starts etcd with all documents, unless an earlier part did.
func (b *bench) fillMember(ctx context.Context) (err error) {
	if b.member != nil {
		return nil
	}
	b.afresh()
	if b.member, err = b.startMember(ctx); err != nil {
		return err
	}
	client, err := discovery.NewClient(b.member.config(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // it reports its own context's end, nothing else
	took, err := b.timed("fill-etcd", func() error { return b.fill(ctx, client) })
	b.report.inform("filling etcd in transactions of 128", "s", took.Seconds())
	return err
}

// fill writes decks, then tenants.
func (b *bench) fill(ctx context.Context, client *clientv3.Client) error {
	ops := make([]clientv3.Op, 0, decks)
	for i := range decks {
		key, value, err := b.docs.deck(i)
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(root+key, string(value)))
	}
	if err := commit(ctx, client, ops); err != nil {
		return err
	}
	writers, ctx := errgroup.WithContext(ctx)
	writers.SetLimit(fillWriters)
	for from := 0; from < b.Tenants && ctx.Err() == nil; from += fillOps {
		writers.Go(func() error {
			ops := make([]clientv3.Op, 0, fillOps)
			for i := from; i < min(from+fillOps, b.Tenants); i++ {
				key, value := b.docs.tenant(i, i, 1)
				ops = append(ops, clientv3.OpPut(root+key, string(value)))
			}
			return commit(ctx, client, ops)
		})
	}
	return writers.Wait()
}

func commit(ctx context.Context, client *clientv3.Client, ops []clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := client.Txn(ctx).Then(ops...).Commit()
	return err
}

// startMember starts a member with nothing in it, and waits until it serves.
func (b *bench) startMember(ctx context.Context) (*etcdMember, error) {
	dir, err := os.MkdirTemp(b.Dir, "etcd")
	if err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(ctx, 2)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	process, err := child.Start(b.Etcd(dir, addresses[0], addresses[1]))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	m := &etcdMember{dir: dir, client: addresses[0], process: process}
	if err := m.await(ctx); err != nil {
		return nil, errors.Join(err, m.stop())
	}
	return m, nil
}

// await waits until the member answers.
func (m *etcdMember) await(ctx context.Context) error {
	client, err := discovery.NewClient(m.config(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // it reports its own context's end, nothing else
	deadline := time.Now().Add(patience)
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		_, err := client.Get(attempt, root)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || time.Now().After(deadline):
			return fmt.Errorf("etcd does not serve: %w", err)
		}
		select {
		case <-m.process.Ended():
			return fmt.Errorf("etcd ended at once (%s): %w", m.process.Ending(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the process and removes its data.
func (m *etcdMember) stop() error {
	m.process.Stop(stopLimit, nil)
	return os.RemoveAll(m.dir)
}

func (m *etcdMember) config() discovery.ClientConfig {
	return discovery.ClientConfig{Endpoints: []string{"http://" + m.client}}
}

// freeAddresses returns loopback addresses that nobody listens at.
func freeAddresses(ctx context.Context, n int) ([]string, error) {
	addresses := make([]string, 0, n)
	for range n {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = listener.Close() }() // nobody connected to it
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
