package store

import (
	"encoding/binary"
	"slices"
)

// ShardsOf packs the numbers of the shards where keys are, or will be: sorted, two bytes for each
// key. [Map.EachIn] and [Editor.EachIn] read such a list, so that whoever keeps one finds entries
// again without their keys. keyOf makes the key of a text.
func (e *Editor) ShardsOf(texts []string, keyOf func(text string) string) string {
	var space [16]shardNumber
	shards := space[:0]
	for _, text := range texts {
		shards = append(shards, shardOf(e.base.seededText(keyOf(text))))
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
