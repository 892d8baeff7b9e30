package routing

import (
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Slots is the number of fixed hash positions of a split.
const Slots = 16_384

// slotSeed returns the seed of a rule's slots: XXH64(tenant + "/" + rule, 0).
func slotSeed(tenant, rule string) uint64 { return xxhash.Sum64String(tenant + "/" + rule) }

// slotOf returns the slot of a key: XXH64(key, seed) mod 16,384.
func slotOf(seed uint64, key []byte) int {
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	_, _ = d.Write(key)
	return int(d.Sum64() % Slots) // below 16,384
}

// Slot returns the slot of a key under a rule of a tenant, 0 to 16,383.
func Slot(tenant, rule string, key []byte) int { return slotOf(slotSeed(tenant, rule), key) }

// Owners assigns every slot to a deck by weighted rendezvous: the deck with the least
// cost(deck, slot) / weight wins, ties going to the name that sorts first. It returns the
// decks with a weight above 0, sorted, and for each slot an index into them. The result
// depends on names and weights alone, and raising one weight moves slots only to that deck.
//
// The cost is -log2 of a hash read as a fraction of 1, in fixed point with 40 binary
// places made by integer operations only, so that every architecture agrees.
func Owners(split map[string]int) (decks []string, owners []uint16) {
	var r race
	return r.run(split, slotCosts)
}

// race assigns slots. It keeps its working space from one split to the next: a start
// compiles many.
type race struct{ best, weights []uint64 } // the cost of each slot's winner so far, and its weight

// run is [Owners] with the costs of a deck's slots from a function that may remember them.
func (r *race) run(split map[string]int, costs func(deck string) []uint64) (decks []string, owners []uint16) {
	for deck, weight := range split {
		if weight > 0 {
			decks = append(decks, deck)
		}
	}
	slices.Sort(decks)
	owners = make([]uint16, Slots)
	if len(decks) < 2 {
		return decks, owners
	}
	r.best = append(r.best[:0], costs(decks[0])...)
	r.weights = slices.Grow(r.weights[:0], Slots)[:Slots]
	best, weights := r.best[:Slots], r.weights[:Slots]
	first := uint64(split[decks[0]])
	for slot := range weights {
		weights[slot] = first
	}
	for i, deck := range decks[1:] {
		weight := uint64(split[deck])
		for slot, cost := range costs(deck)[:Slots] {
			// cost/weight < best/bestWeight, without division. Costs are below 2^47 and weights
			// at most 1,000, so that the products fit.
			if cost*weights[slot] < best[slot]*weight {
				best[slot], weights[slot], owners[slot] = cost, weight, uint16(i+1)
			}
		}
	}
	return decks, owners
}

// slotCosts returns the cost of every slot for a deck.
func slotCosts(deck string) []uint64 {
	costs, seed := make([]uint64, Slots), xxhash.Sum64String(deck)
	for slot := range costs {
		costs[slot] = slotCost(seed, slot)
	}
	return costs
}

// slotCost returns -log2(h / 2^64) in units of 2^-40, where h is XXH64 of the slot, as
// 8 bytes in little-endian order, seeded with the deck's hash. It is at least 1.
func slotCost(seed uint64, slot int) uint64 {
	var name [8]byte
	name[0], name[1] = byte(slot), byte(slot>>8)
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	_, _ = d.Write(name[:])
	return negativeLog2(max(d.Sum64(), 1))
}

// fractionBits is the number of binary places of a cost.
const fractionBits = 40

// negativeLog2 returns -log2(h / 2^64) in units of 2^-40, rounded up; h is not 0.
// The places are found one by one: squaring a number of 1 to 2 doubles its logarithm,
// whose whole part is then the next place.
func negativeLog2(h uint64) uint64 {
	whole := bits.LeadingZeros64(h)
	m := h << whole // 1 to 2 with 63 binary places
	var fraction uint64
	for range fractionBits {
		high, low := bits.Mul64(m, m) // 1 to 4 with 126 places, 62 of them in high
		place := high >> 63
		fraction = fraction<<1 | place
		// If the square is below 2, shift it up. Without a branch: its outcome is random.
		m = high<<(1-place) | low>>63&(1-place)
	}
	return uint64(whole+1)<<fractionBits - fraction // whole is 0 to 63
}
