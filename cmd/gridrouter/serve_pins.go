package main

import (
	"context"
	"iter"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
)

const (
	// defaultPinCache is how many pins are remembered unless --pin-cache says otherwise.
	defaultPinCache = 100_000
	pinFolder       = "pins/"
)

// pinCache reads the pins of tenants with "pins: cached" from etcd when a request needs
// them, and remembers them. It implements [gridrouter.io/router.Pins].
type pinCache struct {
	client *clientv3.Client
	cache  *discovery.ReadCache[routing.Pinned]
	log    *zap.Logger
}

// openPins makes the cache, without contact with etcd.
func openPins(source *sourceFlags, entries int, reader *document.Reader, log *zap.Logger, registry prometheus.Registerer) (*pinCache, error) {
	config, err := source.clientConfig()
	if err != nil {
		return nil, err
	}
	p := &pinCache{log: log}
	if p.client, err = discovery.NewClient(config, log); err != nil {
		return nil, err
	}
	p.cache, err = discovery.NewReadCache(discovery.ReadCacheConfig[routing.Pinned]{
		Client: p.client, Root: source.etcd.Prefix + "docs/" + pinFolder, Decode: pinDecoder(reader), Entries: entries,
		CallTimeout: routing.DefaultConnectTimeout, Registerer: registry, Name: "pin",
	})
	return p, err
}

// newCompiler makes a compiler that holds the pins that nothing else reads.
func (s *service) newCompiler(reader *document.Reader) *compile.Compiler {
	compiler := compile.NewCompiler(reader.Decode)
	if s.pins != nil {
		compiler.CachePins()
	}
	return compiler
}

// pinDecoder returns what makes a pin of a stored value. One that is bad stays unread.
func pinDecoder(reader *document.Reader) func(key string, value []byte) routing.Pinned {
	return func(key string, value []byte) routing.Pinned {
		doc, err := reader.Decode(pinFolder+key, value)
		if pin, ok := doc.(*routing.Pin); ok && err == nil {
			return routing.Pinned{State: routing.PinFound, Deck: strings.Clone(pin.Deck), Sum: routing.PinSum(pinFolder+key, value)} // not the rest of the value
		}
		return routing.Pinned{State: routing.PinUnread}
	}
}

// Pin implements [gridrouter.io/router.Pins].
func (p *pinCache) Pin(ctx context.Context, tenant string, key []byte) routing.Pinned {
	pin, found, err := p.cache.Get(ctx, tenant+"/"+routing.EscapeKey(string(key)))
	switch {
	case err != nil:
		p.log.Warn("a pin cannot be read: its requests get pin_unreadable", zap.String("tenant", tenant), zap.Error(err))
		return routing.Pinned{State: routing.PinUnread}
	case !found:
		return routing.Pinned{State: routing.PinAbsent}
	}
	return pin
}

// invalidate forgets what a batch changes. It is called before the batch is put in force: a
// request that is held to the new table must not find the pin of an older one.
func (p *pinCache) invalidate(batch *discovery.Batch) {
	switch {
	case batch.Audit && !batch.SourceChanged:
		if differed := p.cache.Reconcile(batch.Revision, listedPins(batch.Put)); differed > 0 {
			p.log.Warn("pins that were remembered differ from etcd, and are forgotten", zap.Int("pins", differed))
		}
	case batch.Whole:
		p.cache.InvalidateAll()
	default:
		p.cache.Invalidate(changedPins(batch)...)
	}
}

// listedPins yields the keys of pins behind their folder, with their revisions.
func listedPins(entries []discovery.Entry) iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for i := range entries {
			if key, ok := strings.CutPrefix(entries[i].Key, pinFolder); ok && !yield(key, entries[i].Revision) {
				return
			}
		}
	}
}

func changedPins(batch *discovery.Batch) (keys []string) {
	for key := range listedPins(batch.Put) {
		keys = append(keys, key)
	}
	for _, deleted := range batch.Deleted {
		if key, ok := strings.CutPrefix(deleted, pinFolder); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// close ends the reads that are under way.
func (p *pinCache) close() {
	p.cache.Close()
	_ = p.client.Close() // it reports its own context's end, nothing else
}
