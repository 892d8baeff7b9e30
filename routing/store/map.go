package store

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Map is an immutable map from byte strings to byte strings without pointers in it:
// nothing for the garbage collector to look at, and nothing beside the data but five
// bytes an entry. It is cut into 65,536 shards by the hash of the key. A shard is one
// string, and versions of a map share the shards that did not change, so that an update
// copies a few kilobytes whatever the size of the whole, and readers need no lock. An
// [Editor] makes the next version.
//
// The hash is seeded at random by each compiler: whoever may choose names, of tenants or of
// hosts, cannot choose which of them lie in one shard, or follow one another in its slots.
//
// All methods may be called at once from any goroutine. The strings that they return are parts
// of a shard and keep it alive.
type Map struct {
	pages [pageCount]*page
	count int
	seed  uint64
}

// page is copied when one of its shards changes.
type page [pageShards]string

const (
	pageCount  = 1024
	pageShards = 64
	shardCount = pageCount * pageShards
)

// shardNumber names a shard: 0 to 65,535.
type shardNumber uint16

func shardOf(hash uint64) shardNumber { return shardNumber(hash >> 48) }

// seeded hashes a key. All bits of the unseeded hash, and of the seed, have a say in each bit
// that chooses a shard or a slot.
func (m *Map) seeded(key []byte) uint64     { return spread(xxhash.Sum64(key), m.seed) }
func (m *Map) seededText(key string) uint64 { return spread(xxhash.Sum64String(key), m.seed) }

func spread(hash, seed uint64) uint64 {
	high, low := bits.Mul64(hash^seed, 0x9e3779b97f4a7c15) // 2^64 by the golden ratio, which is odd and has no pattern
	return high ^ low
}

func (m *Map) shard(n shardNumber) string {
	page := m.pages[n/pageShards]
	if page == nil {
		return ""
	}
	return page[n%pageShards]
}

// Len returns how many entries the map has.
func (m *Map) Len() int { return m.count }

// Get returns the value of a key. It allocates nothing.
func (m *Map) Get(key []byte) (value string, ok bool) {
	hash := m.seeded(key)
	return findIn(m.shard(shardOf(hash)), hash, key)
}

// GetString is [Map.Get] with a key that is a string.
func (m *Map) GetString(key string) (value string, ok bool) {
	hash := m.seededText(key)
	return findIn(m.shard(shardOf(hash)), hash, key)
}

// Each calls f with all entries, in no order, until it returns false.
func (m *Map) Each(f func(key, value string) bool) {
	for _, page := range m.pages {
		if page == nil {
			continue
		}
		for _, shard := range page {
			if !eachIn(shard, f) {
				return
			}
		}
	}
}

// EachIn calls f with the entries of the shards of a list that [Editor.ShardsOf] made.
func (m *Map) EachIn(shards string, f func(key, value string)) {
	eachShard(shards, func(number shardNumber) {
		eachIn(m.shard(number), func(key, value string) bool {
			f(key, value)
			return true
		})
	})
}
