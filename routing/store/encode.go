package store

import (
	"encoding/binary"
	"errors"
)

// Encode returns the number of entries, the seed, and the shards, one after the other, each
// behind its length.
func (m *Map) Encode() []byte {
	size := 0
	for _, page := range m.pages {
		if page != nil {
			for _, shard := range page {
				size += len(shard)
			}
		}
	}
	out := make([]byte, 0, size+shardCount*4+16)
	out = binary.LittleEndian.AppendUint64(out, uint64(m.count))
	out = binary.LittleEndian.AppendUint64(out, m.seed)
	for number := range shardCount {
		shard := m.shard(shardNumber(number))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(shard)))
		out = append(out, shard...)
	}
	return out
}

var errShards = errors.New("its shards are cut short")

// Decode is the inverse of [Map.Encode]: it returns an editor that stands at the encoded map. The shards
// themselves are believed: a checksum has covered them.
func Decode(data []byte) (*Editor, error) {
	if len(data) < 16 {
		return nil, errShards
	}
	e := NewEditor(binary.LittleEndian.Uint64(data[8:]))
	m := &e.base
	m.count = int(binary.LittleEndian.Uint64(data))
	data = data[16:]
	for number := range shardCount {
		if len(data) < 4 {
			return nil, errShards
		}
		size := int(binary.LittleEndian.Uint32(data))
		if data = data[4:]; len(data) < size {
			return nil, errShards
		}
		if size > 0 {
			at := number / pageShards
			if m.pages[at] == nil {
				m.pages[at] = new(page)
			}
			m.pages[at][number%pageShards] = string(data[:size])
			data = data[size:]
		}
	}
	if len(data) > 0 {
		return nil, errors.New("there is more than its shards")
	}
	return e, nil
}
