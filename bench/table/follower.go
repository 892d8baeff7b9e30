package table

import (
	"context"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/discovery"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// root is where the documents are in etcd, and marks where the words to the guard are.
const (
	root  = "/gridrouter/docs/"
	marks = "/gridrouter/guard/"
)

// follower is what of a router follows etcd: a client of its own, source and compiler.
type follower struct {
	source   *discovery.Etcd
	compiler *compile.Compiler
	table    atomic.Pointer[routing.Table]
	revision int64
	// first is closed when the first table is published.
	first chan struct{}
	// published, if set, is called in the following goroutine after each table but the first.
	published func(discovery.Batch, *routing.Table)

	stop context.CancelFunc
	done chan error
}

// follow starts a follower of the member.
func (b *bench) follow(ctx context.Context, m *etcdMember, published func(discovery.Batch, *routing.Table)) *follower {
	f := &follower{compiler: b.newCompiler(), published: published, first: make(chan struct{}), done: make(chan error, 1)}
	f.source = discovery.NewEtcd(discovery.EtcdConfig{
		Dial: func() (*clientv3.Client, error) { return discovery.NewClient(m.config(), nil) },
		Root: root, Marks: marks,
	})
	ctx, f.stop = context.WithCancel(ctx)
	go func() { f.done <- f.source.Follow(ctx, f.apply) }()
	return f
}

// end stops the follower and waits for it.
func (f *follower) end() {
	f.stop()
	<-f.done //nolint:errcheck // it ended because it was told to, or told so before
}

// wait waits for the first table.
func (f *follower) wait(ctx context.Context) (*routing.Table, error) {
	select {
	case <-f.first:
		return f.table.Load(), nil
	case err := <-f.done:
		f.done <- err
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// apply compiles and publishes a batch, as cmd/gridrouter does.
func (f *follower) apply(batch discovery.Batch) {
	update := compile.Update{
		Whole: batch.Whole, SourceChanged: batch.SourceChanged, Origin: "etcd", At: time.Now(),
		Changes: make([]compile.Change, 0, len(batch.Put)+len(batch.Deleted)),
	}
	if !batch.Whole {
		f.revision = batch.Revision
	}
	for i := range batch.Put {
		entry := &batch.Put[i]
		f.revision = max(f.revision, entry.Revision)
		update.Changes = append(update.Changes, compile.Change{Key: entry.Key, Value: entry.Value, Revision: entry.Revision, Created: entry.Created})
	}
	for _, key := range batch.Deleted {
		update.Changes = append(update.Changes, compile.Change{Key: key, Deleted: true, Revision: batch.Revision})
	}
	update.Revision = f.revision
	first := f.table.Load() == nil
	table, err := f.compiler.Compile(update)
	if err != nil {
		panic(err) // a fault of ours: what would be measured from here on is nothing
	}
	f.table.Store(table)
	switch {
	case first:
		close(f.first)
	case f.published != nil:
		f.published(batch, table)
	}
}
