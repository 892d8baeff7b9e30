package routing

import (
	"encoding/binary"
	"slices"
	"strings"
)

// tenantRecord is what the tenants' store holds of one tenant, packed: the form in force,
// and of the stored pair as much as tells whether a pair is the same.
type tenantRecord struct {
	policy uint32 // ID of the policy in force; 0: never good
	epoch  uint64
	// digest is that of the stored pair, or of the last one if the pair is gone.
	digest uint64
	// gone says that the pair is deleted, but the guard holds the deletion.
	gone bool
	// created and revision are those of the stored pair.
	created, revision int64
	shards            string // shardList of the hosts that it claims
	delegates         string // shardList of its delegates, under their keys
}

const recordGone = 1

// pack appends the packed record to out, which is empty.
func (r *tenantRecord) pack(out []byte) []byte {
	out = append(out, 0)
	if r.gone {
		out[0] = recordGone
	}
	out = binary.AppendUvarint(out, uint64(r.policy))
	out = binary.AppendUvarint(out, r.epoch)
	out = binary.LittleEndian.AppendUint64(out, r.digest)
	out = binary.AppendUvarint(out, uint64(r.created))
	out = binary.AppendVarint(out, r.revision-r.created)
	out = binary.AppendUvarint(out, uint64(len(r.shards)/2))
	return append(append(out, r.shards...), r.delegates...)
}

func unpackTenant(packed string) (r tenantRecord) {
	r.gone = packed[0]&recordGone != 0
	policy, at := loadVarint(packed, 1)
	r.policy = uint32(policy)
	r.epoch, at = loadVarint(packed, at)
	r.digest = uint64(load32(packed, at)) | uint64(load32(packed, at+4))<<32
	created, at := loadVarint(packed, at+8)
	r.created = int64(created)
	delta, at := loadVarint(packed, at)
	r.revision = r.created + (int64(delta>>1) ^ -int64(delta&1))
	shards, at := loadVarint(packed, at)
	end := at + 2*int(shards)
	r.shards, r.delegates = packed[at:end], packed[end:]
	return r
}

// shardList packs the numbers of the shards where keys are: sorted, one for each key.
func (s *store) shardList(texts []string, keyOf func(string) string) string {
	var space [16]shardNumber
	shards := space[:0]
	for _, text := range texts {
		shards = append(shards, shardOf(s.seededText(keyOf(text))))
	}
	slices.Sort(shards)
	out := make([]byte, 0, 2*len(shards))
	for _, shard := range shards {
		out = binary.LittleEndian.AppendUint16(out, uint16(shard))
	}
	return string(out)
}

// eachShard calls f with every shard of a list, once.
func eachShard(list string, f func(shardNumber)) {
	for at := 0; at < len(list); at += 2 {
		if at == 0 || list[at:at+2] != list[at-2:at] {
			f(shardNumber(list[at]) | shardNumber(list[at+1])<<8)
		}
	}
}

// hostKey is how a host is spelled as a key of the hosts' store: a wildcard without its
// star, so that what stands for a host is found by the ends of its name.
func hostKey(host string) string {
	if host == CatchAll {
		return host
	}
	return strings.TrimPrefix(host, "*")
}

func hostOfKey(key string) string {
	if strings.HasPrefix(key, ".") {
		return "*" + key
	}
	return key
}

// packHost appends the value of the hosts' store to out: who owns the host, and by which form.
func packHost(out []byte, policy uint32, epoch uint64, tenant string) []byte {
	out = binary.AppendUvarint(out, uint64(policy))
	out = binary.AppendUvarint(out, epoch)
	return append(out, tenant...)
}

func unpackHost(packed string) (policy uint32, epoch uint64, tenant string) {
	id, at := loadVarint(packed, 0)
	epoch, at = loadVarint(packed, at)
	return uint32(id), epoch, packed[at:]
}

// pinRecord is what the pins' store holds of one pin, under "TENANT/KEY".
type pinRecord struct {
	deck   int32 // or pinUnreadable
	digest uint64
	gone   bool
}

func (r pinRecord) pack(out []byte) []byte {
	deck := uint64(r.deck+1) << 1 // pinUnreadable is -1
	if r.gone {
		deck |= recordGone
	}
	out = binary.LittleEndian.AppendUint64(out, r.digest)
	return binary.AppendUvarint(out, deck)
}

func unpackPin(packed string) pinRecord {
	deck, _ := loadVarint(packed, 8)
	return pinRecord{
		deck: int32(deck>>1) - 1, gone: deck&recordGone != 0,
		digest: uint64(load32(packed, 0)) | uint64(load32(packed, 4))<<32,
	}
}
