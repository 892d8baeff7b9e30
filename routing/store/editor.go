package store

import (
	"encoding/binary"
	"unsafe"
)

// Editor makes the next version of a [Map]. What it changes it copies first; the
// map that it began with stays as it is. One goroutine at a time.
type Editor struct {
	base  Map // the last version that was sealed; its count is that of the edits
	owned [pageCount]bool
	open  []*openShard  // by number; nil before the first edit
	dirty []shardNumber // those that are open
	// expected is how many entries a new shard makes room for.
	expected uint32
}

// openShard is a shard that is being changed: the layout of a sealed one, with free slots
// to spare, and with records that no slot leads to any more.
type openShard struct {
	in    *Map // whose seed it hashes by
	data  []byte
	used  uint32 // slots that are not free, those of deleted entries included
	waste bool   // there are records that no slot leads to
}

// NewEditor returns an editor of an empty map whose keys are hashed with a seed.
func NewEditor(seed uint64) *Editor { return &Editor{base: Map{seed: seed}} }

// Edit returns an editor of the next version of a map.
func (m *Map) Edit() *Editor { return &Editor{base: *m} } // its pages are copied before they are changed

// Len returns how many entries there are, with the edits.
func (e *Editor) Len() int { return e.base.count }

// Expect tells the editor how many entries are about to be added, so that new shards have room for them
// from the start; 0: it is not known.
func (e *Editor) Expect(entries int) { e.expected = uint32(entries / shardCount) }

// Get returns the value of a key, with the edits.
func (e *Editor) Get(key string) (value string, ok bool) {
	hash := e.base.seededText(key)
	number := shardOf(hash)
	if open := e.opened(number); open != nil {
		found, ok := findIn(open.data, hash, key)
		return string(found), ok
	}
	return findIn(e.base.shard(number), hash, key)
}

// Put sets the value of a key. It keeps neither.
func (e *Editor) Put(key string, value []byte) {
	hash := e.base.seededText(key)
	open := e.edit(shardOf(hash))
	if at, ok := slotIn(open.data, hash, key); ok {
		slot := load32(open.data, at)
		_, present := recordAt(open.data, int(slot>>8))
		if len(present) == len(value) {
			copy(present, value)
			return
		}
		open.waste = true
		binary.LittleEndian.PutUint32(open.data[at:], uint32(len(open.data))<<8|slot&0xff)
		open.append(key, value)
		return
	}
	e.base.count++
	open.add(hash, key, value)
}

// Delete removes a key and says whether it was there.
func (e *Editor) Delete(key string) bool {
	hash := e.base.seededText(key)
	number := shardOf(hash)
	if e.opened(number) == nil {
		if _, ok := slotIn(e.base.shard(number), hash, key); !ok {
			return false
		}
	}
	open := e.edit(number)
	at, ok := slotIn(open.data, hash, key)
	if !ok {
		return false
	}
	binary.LittleEndian.PutUint32(open.data[at:], freed)
	binary.LittleEndian.PutUint32(open.data, load32(open.data, 0)-1)
	open.waste = true
	e.base.count--
	return true
}

// eachInShard calls f with the entries of one shard, as edited.
func (e *Editor) eachInShard(number shardNumber, f func(key, value string) bool) {
	if open := e.opened(number); open != nil {
		eachIn(open.data, func(key, value []byte) bool { return f(string(key), string(value)) })
		return
	}
	eachIn(e.base.shard(number), f)
}

// EachIn is [Map.EachIn], with the edits.
func (e *Editor) EachIn(shards string, f func(key, value string)) {
	eachShard(shards, func(number shardNumber) {
		e.eachInShard(number, func(key, value string) bool {
			f(key, value)
			return true
		})
	})
}

// Each calls f with all entries, as edited, in no order, until it returns false. f must not edit.
func (e *Editor) Each(f func(key, value string) bool) {
	for number := range shardCount {
		more := true
		e.eachInShard(shardNumber(number), func(key, value string) bool {
			more = f(key, value)
			return more
		})
		if !more {
			return
		}
	}
}

// opened returns a shard that is being changed; nil: it is not.
func (e *Editor) opened(number shardNumber) *openShard {
	if e.open == nil {
		return nil
	}
	return e.open[number]
}

// edit opens a shard.
func (e *Editor) edit(number shardNumber) *openShard {
	open := e.opened(number)
	if open == nil {
		if e.open == nil {
			e.open = make([]*openShard, shardCount)
		}
		open = e.openOf(e.base.shard(number))
		e.open[number] = open
		e.dirty = append(e.dirty, number)
	}
	return open
}

// Seal returns the version that has the edits, and about how many bytes it does not share with the one
// before. Without edits it returns before, if that is not nil.
func (e *Editor) Seal(before *Map) (version *Map, written int) {
	if len(e.dirty) == 0 && before != nil {
		return before, 0
	}
	for _, number := range e.dirty {
		open := e.open[number]
		e.open[number] = nil
		at := number / pageShards
		if !e.owned[at] {
			e.owned[at] = true
			fresh := new(page)
			if e.base.pages[at] != nil {
				*fresh = *e.base.pages[at]
			}
			e.base.pages[at] = fresh
			written += int(unsafe.Sizeof(*fresh))
		}
		sealed := open.seal()
		written += len(sealed)
		e.base.pages[at][number%pageShards] = sealed
	}
	e.dirty = e.dirty[:0]
	e.owned = [pageCount]bool{}
	sealed := e.base
	return &sealed, written
}

// openOf returns a shard that can be changed; a new one has room for what is expected.
func (e *Editor) openOf(sealed string) *openShard {
	const entryBytes = 48 // of a tenant or a host, more or less
	if len(sealed) < shardHead {
		return &openShard{in: &e.base, data: emptyShard(slotsFor(e.expected)+1, int(e.expected+1)*entryBytes)}
	}
	return &openShard{in: &e.base, data: append([]byte(nil), sealed...), used: load32(sealed, 0)} // a sealed shard has no slots of deleted entries
}

func emptyShard(slots uint32, room int) []byte {
	data := make([]byte, shardHead+int(slots)*slotBytes, shardHead+int(slots)*slotBytes+room)
	binary.LittleEndian.PutUint32(data[4:], slots)
	return data
}

// slotsFor is how many slots a sealed shard has: a fifth of them are free.
func slotsFor(entries uint32) uint32 { return entries + entries/4 + 1 }

// add inserts an entry that is not there.
func (o *openShard) add(hash uint64, key string, value []byte) {
	if slots := load32(o.data, 4); o.used+1 > slots-slots/8-1 || slots < 2 {
		o.rebuild(slotsFor(load32(o.data, 0)*3/2 + 2))
	}
	binary.LittleEndian.PutUint32(o.data, load32(o.data, 0)+1)
	o.used++
	o.take(hash, len(o.data))
	o.append(key, value)
}

// take gives the next free slot of a hash to the record at an offset.
func (o *openShard) take(hash uint64, offset int) {
	slots := load32(o.data, 4)
	for i := firstSlot(hash, slots); ; {
		at := shardHead + int(i)*slotBytes
		if load32(o.data, at) == 0 {
			binary.LittleEndian.PutUint32(o.data[at:], uint32(offset)<<8|uint32(uint8(hash>>32)))
			return
		}
		if i++; i == slots {
			i = 0
		}
	}
}

func (o *openShard) append(key string, value []byte) {
	o.data = appendRecord(o.data, key, value)
	if len(o.data) >= maxShardBytes {
		if o.waste {
			o.rebuild(load32(o.data, 4))
		}
		if len(o.data) >= maxShardBytes {
			// No record is larger than some 40 KB, and nobody knows which names share a shard.
			panic("store: a shard of the table has outgrown 16 MiB: some 200 GiB of documents")
		}
	}
}

// rebuild lays the shard out anew, without waste.
func (o *openShard) rebuild(slots uint32) {
	entries := load32(o.data, 0)
	fresh := &openShard{in: o.in, data: emptyShard(max(slots, slotsFor(entries)), len(o.data)), used: entries}
	binary.LittleEndian.PutUint32(fresh.data, entries)
	eachIn(o.data, func(key, value []byte) bool {
		fresh.take(o.in.seeded(key), len(fresh.data))
		fresh.data = binary.AppendUvarint(fresh.data, uint64(len(key)))
		fresh.data = binary.AppendUvarint(fresh.data, uint64(len(value)))
		fresh.data = append(append(fresh.data, key...), value...)
		return true
	})
	*o = *fresh
}

// seal returns the shard as one string of just its length.
func (o *openShard) seal() string {
	entries := load32(o.data, 0)
	if entries == 0 {
		return ""
	}
	if slots := load32(o.data, 4); o.waste || slots > slotsFor(entries)+slotsFor(entries)/16+2 {
		o.rebuild(slotsFor(entries))
	}
	if spare := cap(o.data) - len(o.data); spare > len(o.data)/8+16 { // the allocator rounds up by less
		return string(o.data)
	}
	return unsafe.String(&o.data[0], len(o.data)) //nolint:gosec // nobody writes to a sealed shard's bytes again
}
