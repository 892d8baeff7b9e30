package store

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// recordGone is the bit of a record whose pair is deleted, while the deletion is held.
const recordGone = 1

// TenantRecord is the value of a tenant in [Maps]: the form in force, and of the stored pair as
// much as tells whether another pair is the same.
type TenantRecord struct {
	Policy uint32 // ID of the policy in force; 0: the document never was good
	Epoch  uint64 // of the form in force
	// Digest is that of the stored pair, or of the last one if the pair is gone.
	Digest uint64
	// Gone says that the pair is deleted, but the guard holds the deletion.
	Gone bool
	// Created and Revision are those of the stored pair.
	Created, Revision int64
	// Hosts is the list of shards of the hosts that the tenant claims, and Delegates that of
	// its delegates: see [Editor.ShardsOf].
	Hosts, Delegates string
}

// Pack appends the packed record to out, which is empty.
func (r *TenantRecord) Pack(out []byte) []byte {
	out = append(out, 0)
	if r.Gone {
		out[0] = recordGone
	}
	out = binary.AppendUvarint(out, uint64(r.Policy))
	out = binary.AppendUvarint(out, r.Epoch)
	out = binary.LittleEndian.AppendUint64(out, r.Digest)
	out = binary.AppendUvarint(out, uint64(r.Created))
	out = binary.AppendVarint(out, r.Revision-r.Created)
	out = binary.AppendUvarint(out, uint64(len(r.Hosts)/2))
	return append(append(out, r.Hosts...), r.Delegates...)
}

// UnpackTenant is the inverse of [TenantRecord.Pack].
func UnpackTenant(packed string) (r TenantRecord) {
	r.Gone = packed[0]&recordGone != 0
	policy, at := loadVarint(packed, 1)
	r.Policy = uint32(policy)
	r.Epoch, at = loadVarint(packed, at)
	r.Digest = load64(packed, at)
	created, at := loadVarint(packed, at+8)
	r.Created = int64(created)
	delta, at := loadVarint(packed, at)
	r.Revision = r.Created + (int64(delta>>1) ^ -int64(delta&1))
	shards, at := loadVarint(packed, at)
	end := at + 2*int(shards)
	r.Hosts, r.Delegates = packed[at:end], packed[end:]
	return r
}

// HostKey returns the key of a host: a wildcard without its star, so that what stands for a host
// is found by the ends of its name. "*", which stands for all hosts, is its own key.
func HostKey(host string) string {
	if strings.HasPrefix(host, "*.") {
		return host[1:]
	}
	return host
}

// HostOfKey is the inverse of [HostKey].
func HostOfKey(key string) string {
	if strings.HasPrefix(key, ".") {
		return "*" + key
	}
	return key
}

// PackHost appends the value of a host to out: which tenant owns it, and the policy and epoch
// of the tenant's form in force.
func PackHost(out []byte, policy uint32, epoch uint64, tenant string) []byte {
	out = binary.AppendUvarint(out, uint64(policy))
	out = binary.AppendUvarint(out, epoch)
	return append(out, tenant...)
}

// UnpackHost is the inverse of [PackHost].
func UnpackHost(packed string) (policy uint32, epoch uint64, tenant string) {
	id, at := loadVarint(packed, 0)
	epoch, at = loadVarint(packed, at)
	return uint32(id), epoch, packed[at:]
}

// DelegateKey returns the key of a tenant's delegate. Delegates are entries of a map of their own,
// as hosts are, so that a tenant with ten thousand of them costs no more than their bytes, and to
// ask for one is a look-up.
func DelegateKey(tenant, host string) string { return tenant + "/" + HostKey(host) }

// DelegatesOf lists the delegates of a tenant, sorted. shards is their list in the tenant's record;
// entries calls f with what lies in these shards, as [Map.EachIn] does.
func DelegatesOf(tenant, shards string, entries func(shards string, f func(key, value string))) (hosts []string) {
	prefix := tenant + "/"
	entries(shards, func(key, _ string) {
		if host, ok := strings.CutPrefix(key, prefix); ok {
			hosts = append(hosts, strings.Clone(HostOfKey(host)))
		}
	})
	slices.Sort(hosts)
	return hosts
}

// PinUnreadable stands for the deck of a pin whose value never could be read.
const PinUnreadable = -1

// PinRecord is the value of a pin whose deck is known to the table. Its key is "TENANT/KEY".
type PinRecord struct {
	Deck   int32  // ID of the deck, or [PinUnreadable]
	Digest uint64 // of the stored pair, or of the last one if the pair is gone
	Gone   bool   // the pair is deleted, but the guard holds the deletion
}

// Pack appends the packed record to out.
func (r PinRecord) Pack(out []byte) []byte {
	deck := uint64(r.Deck+1) << 1 // PinUnreadable is -1
	if r.Gone {
		deck |= recordGone
	}
	out = binary.LittleEndian.AppendUint64(out, r.Digest)
	return binary.AppendUvarint(out, deck)
}

// UnpackPin is the inverse of [PinRecord.Pack].
func UnpackPin(packed string) PinRecord {
	deck, _ := loadVarint(packed, 8)
	return PinRecord{Deck: int32(deck>>1) - 1, Gone: deck&recordGone != 0, Digest: load64(packed, 0)}
}

// UnheldKey returns the key of a pin that is read on demand, of which only hashes are kept. They
// are seeded, else a tenant could choose a key whose hash is that of another tenant's, and by
// deleting its own pin take that one's away.
func (e *Editor) UnheldKey(tenant, key string) string {
	var d xxhash.Digest
	d.ResetWithSeed(e.base.seed)
	_, _ = d.WriteString(tenant)
	_, _ = d.Write([]byte{'/'})
	_, _ = d.WriteString(key)
	var out [8]byte
	binary.LittleEndian.PutUint64(out[:], d.Sum64())
	return string(out[:])
}

// UnheldSum returns the digest of the pair of a pin of which only hashes are kept, by its name
// "TENANT/KEY", and whether there is such a pin. It allocates nothing.
func (m *Map) UnheldSum(pin []byte) (digest uint64, known bool) {
	if m.count == 0 {
		return 0, false
	}
	var d xxhash.Digest
	d.ResetWithSeed(m.seed)
	_, _ = d.Write(pin)
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], d.Sum64())
	packed, known := m.Get(key[:])
	if !known {
		return 0, false
	}
	digest, _ = UnpackUnheld(packed)
	return digest, true
}

// PackUnheld packs the value of a pin of which only hashes are kept: the digest of its pair, and
// whether the pair is deleted while the deletion is held.
func PackUnheld(digest uint64, gone bool) []byte {
	packed := binary.LittleEndian.AppendUint64(nil, digest)
	if gone {
		packed = append(packed, recordGone)
	}
	return packed
}

// UnpackUnheld is the inverse of [PackUnheld].
func UnpackUnheld(packed string) (digest uint64, gone bool) {
	return load64(packed, 0), len(packed) > 8
}

// load64 reads an unsigned number of 8 bytes.
func load64(s string, at int) uint64 { return uint64(load32(s, at)) | uint64(load32(s, at+4))<<32 }

// PairDigest hashes one pair of key and value. It is never 0, which stands for no pair.
func PairDigest[V string | []byte](key string, value V) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(key)
	_, _ = d.Write([]byte{0})
	switch v := any(value).(type) {
	case string:
		_, _ = d.WriteString(v)
	case []byte:
		_, _ = d.Write(v)
	}
	return max(d.Sum64(), 1)
}
