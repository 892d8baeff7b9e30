package compile

import (
	"fmt"
)

// digest is a sum of pair hashes: two 64-bit lanes, each modulo 2^64. Sums do not depend
// on order, and one pair can be added or taken away alone. A pair is remembered by the 64
// bits of its hash; the second lane adds a mixture of them, so that sums which agree in one
// lane by chance differ in the other. It finds accidents, not forgeries: who may write to
// etcd needs none.
type digest [2]uint64

// mixed spreads the bits of a hash (the last steps of MurmurHash3's 64-bit form).
func mixed(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// add adds a pair by its hash; 0 adds nothing.
func (d *digest) add(pair uint64) {
	if pair != 0 {
		d[0] += pair
		d[1] += mixed(pair)
	}
}

// sub takes a pair away.
func (d *digest) sub(pair uint64) {
	if pair != 0 {
		d[0] -= pair
		d[1] -= mixed(pair)
	}
}

// plus returns the sum of two digests.
func (d digest) plus(other digest) digest { return digest{d[0] + other[0], d[1] + other[1]} }

// String returns 32 hexadecimal digits.
func (d digest) String() string { return fmt.Sprintf("%016x%016x", d[0], d[1]) }
