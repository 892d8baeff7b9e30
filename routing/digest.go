package routing

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// digest is a sum of pair hashes: two independent 64-bit lanes, each modulo 2^64. Sums
// do not depend on order, and one pair can be added or taken away alone. It finds
// accidents, not forgeries: who may write to etcd needs none.
type digest [2]uint64

// pairDigest hashes one pair of key and value.
func pairDigest(key, value string) digest { return pairDigestBytes(key, []byte(value)) }

func pairDigestBytes(key string, value []byte) digest {
	var out digest
	var d xxhash.Digest
	for lane := range out {
		d.ResetWithSeed(uint64(lane)) // 0 or 1
		_, _ = d.WriteString(key)
		_, _ = d.Write([]byte{0})
		_, _ = d.Write(value)
		out[lane] = d.Sum64()
	}
	return out
}

func (d *digest) add(other digest) {
	d[0] += other[0]
	d[1] += other[1]
}

func (d *digest) sub(other digest) {
	d[0] -= other[0]
	d[1] -= other[1]
}

// String returns 32 hexadecimal digits.
func (d digest) String() string { return fmt.Sprintf("%016x%016x", d[0], d[1]) }
