package catalog

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Fingerprint tells whether two processes hold the same documents of a folder: a sum over pairs of
// name and value, in whatever order they came. The zero value is that of no documents. It finds
// accidents, not forgeries. A Fingerprint is not safe for concurrent use.
type Fingerprint [2]uint64

// Add adds a document.
func (f *Fingerprint) Add(name string, value []byte) {
	sum := pairSum(name, value)
	f[0] += sum
	f[1] += sum * sum
}

// Remove takes away a document that was added.
func (f *Fingerprint) Remove(name string, value []byte) {
	sum := pairSum(name, value)
	f[0] -= sum
	f[1] -= sum * sum
}

// String returns 32 hexadecimal digits.
func (f Fingerprint) String() string { return fmt.Sprintf("%016x%016x", f[0], f[1]) }

// pairSum is the hash of a pair. Names hold no zero byte.
func pairSum(name string, value []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(name)
	_, _ = d.Write([]byte{0})
	_, _ = d.Write(value)
	return d.Sum64()
}
