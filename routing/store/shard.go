package store

import "encoding/binary"

// A shard is one string, or, while it is being edited, one slice of bytes. It is laid out as
//
//	entries uint32 | slots uint32 | slot uint32 ... | record ...
//
// in little-endian order. A slot is 0 if it is free, else the offset of a record in the
// shard, times 256, plus 8 bits of the key's hash. A record is the length of the key and
// that of the value, as varints, then both. Slots are searched from a place that the hash
// gives, one after the other, up to a free one.
const (
	shardHead = 8
	slotBytes = 4
	// maxShardBytes is where offsets end: 24 bits.
	maxShardBytes = 1 << 24
	// freed marks the slot of an entry that was deleted, while a shard is being edited.
	freed = 0xffffffff
)

// bytesOf is text or bytes.
type bytesOf interface{ string | []byte }

// findIn finds a key in a shard.
func findIn[S bytesOf, K bytesOf](shard S, hash uint64, key K) (value S, ok bool) {
	at, ok := slotIn(shard, hash, key)
	if !ok {
		return value, false
	}
	_, value = recordAt(shard, int(load32(shard, at)>>8))
	return value, true
}

// slotIn returns where the slot of a key is.
func slotIn[S bytesOf, K bytesOf](shard S, hash uint64, key K) (at int, ok bool) {
	if len(shard) < shardHead {
		return 0, false
	}
	slots := load32(shard, 4)
	tag := uint32(uint8(hash >> 32)) // other bits than those that choose shard and slot
	for i := firstSlot(hash, slots); ; {
		at = shardHead + int(i)*slotBytes
		slot := load32(shard, at)
		if slot == 0 {
			return 0, false
		}
		if slot&0xff == tag && slot != freed {
			if found, _ := recordAt(shard, int(slot>>8)); string(found) == string(key) {
				return at, true
			}
		}
		if i++; i == slots {
			i = 0
		}
	}
}

// firstSlot is where the search for a hash begins.
func firstSlot(hash uint64, slots uint32) uint32 {
	return uint32(uint64(uint32(hash)) * uint64(slots) >> 32)
}

// recordAt returns the record at an offset.
func recordAt[S bytesOf](shard S, at int) (key, value S) {
	keyBytes, at := loadVarint(shard, at)
	valueBytes, at := loadVarint(shard, at)
	middle := at + int(keyBytes)
	return shard[at:middle], shard[middle : middle+int(valueBytes)]
}

func eachIn[S bytesOf](shard S, f func(key, value S) bool) bool {
	if len(shard) < shardHead {
		return true
	}
	end := shardHead + int(load32(shard, 4))*slotBytes
	for at := shardHead; at < end; at += slotBytes {
		slot := load32(shard, at)
		if slot == 0 || slot == freed {
			continue
		}
		if key, value := recordAt(shard, int(slot>>8)); !f(key, value) {
			return false
		}
	}
	return true
}

func load32[S bytesOf](s S, at int) uint32 {
	_ = s[at+3]
	return uint32(s[at]) | uint32(s[at+1])<<8 | uint32(s[at+2])<<16 | uint32(s[at+3])<<24
}

// loadVarint reads an unsigned varint and returns the offset behind it.
func loadVarint[S bytesOf](s S, at int) (value uint64, next int) {
	for shift := uint(0); ; shift += 7 {
		b := s[at]
		at++
		value |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return value, at
		}
	}
}

func appendRecord(out []byte, key string, value []byte) []byte {
	out = binary.AppendUvarint(out, uint64(len(key)))
	out = binary.AppendUvarint(out, uint64(len(value)))
	return append(append(out, key...), value...)
}
