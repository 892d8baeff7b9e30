package keyspace

import (
	"cmp"
	"container/heap"
	"slices"
)

// heavy finds the keys that were counted most often, in memory for so many keys, by the algorithm SpaceSaving
// of Metwally, Agrawal and El Abbadi: a key that is not kept takes the place of the one counted least, and its
// count as a possible error.
//
// Of n counts in all with room for m keys: every key counted more than n/m times is kept; a kept count is too
// high by at most its error, and never too low; no error is above n/m.
type heavy struct {
	most  int
	total int64
	byKey map[string]*hitter
	least hitters // a heap: the one counted least is first
}

type hitter struct {
	key          string
	count, wrong int64
	at           int // in the heap
}

func newHeavy(most int) *heavy { return &heavy{most: most, byKey: map[string]*hitter{}} }

// add counts a key so often.
func (h *heavy) add(key string, count int64) {
	h.total += count
	if one := h.byKey[key]; one != nil {
		one.count += count
		heap.Fix(&h.least, one.at)
		return
	}
	one := &hitter{key: key, count: count}
	if len(h.least) < h.most {
		h.byKey[key] = one
		heap.Push(&h.least, one)
		return
	}
	out := h.least[0]
	delete(h.byKey, out.key)
	one.count, one.wrong, one.at = out.count+count, out.count, 0
	h.byKey[key], h.least[0] = one, one
	heap.Fix(&h.least, 0)
}

// top returns those counted most often, the most often first. It leaves nothing to add to.
func (h *heavy) top(most int) []*hitter {
	all := slices.Clone(h.least)
	slices.SortFunc(all, func(a, b *hitter) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.wrong, b.wrong), cmp.Compare(a.key, b.key))
	})
	return all[:min(most, len(all))]
}

type hitters []*hitter

func (h hitters) Len() int           { return len(h) }
func (h hitters) Less(a, b int) bool { return h[a].count < h[b].count }
func (h hitters) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].at, h[b].at = a, b
}

// Push is for the heap.
func (h *hitters) Push(one any) {
	last := one.(*hitter)
	last.at = len(*h)
	*h = append(*h, last)
}

// Pop is for the heap.
func (h *hitters) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
