package routing

import (
	"encoding/binary"
	"unsafe"
)

// storeEditor makes the next version of a store. What it changes it copies first; the
// store that it began with stays as it is. One goroutine at a time.
type storeEditor struct {
	store
	owned [storePages]bool
	open  []*openShard  // by number; nil before the first edit
	dirty []shardNumber // those that are open
	// expected is how many entries a new shard makes room for.
	expected uint32
	// written counts the bytes of shards and pages that were copied since the last seal.
	written int
}

// openShard is a shard that is being changed: the layout of a sealed one, with free slots
// to spare, and with records that no slot leads to any more.
type openShard struct {
	in    *store // whose seed it hashes by
	data  []byte
	used  uint32 // slots that are not free, those of deleted entries included
	waste bool   // there are records that no slot leads to
}

func newStoreEditor(seed uint64) *storeEditor { return &storeEditor{store: store{seed: seed}} }

// get is that of the store, with the edits.
func (e *storeEditor) get(key string) (value string, ok bool) {
	hash := e.seededText(key)
	number := shardOf(hash)
	if open := e.opened(number); open != nil {
		found, ok := findIn(open.data, hash, key)
		return string(found), ok
	}
	return findIn(e.shard(number), hash, key)
}

// put sets the value of a key. It keeps neither.
func (e *storeEditor) put(key string, value []byte) {
	hash := e.seededText(key)
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
	e.count++
	open.add(hash, key, value)
}

// delete removes a key and says whether it was there.
func (e *storeEditor) delete(key string) bool {
	hash := e.seededText(key)
	number := shardOf(hash)
	if e.opened(number) == nil {
		if _, ok := slotIn(e.shard(number), hash, key); !ok {
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
	e.count--
	return true
}

// eachInShard calls f with the entries of one shard, as edited.
func (e *storeEditor) eachInShard(number shardNumber, f func(key, value string) bool) {
	if open := e.opened(number); open != nil {
		eachIn(open.data, func(key, value []byte) bool { return f(string(key), string(value)) })
		return
	}
	eachIn(e.shard(number), f)
}

// each calls f with all entries, as edited. f must not edit.
func (e *storeEditor) each(f func(key, value string) bool) {
	for number := range storeShards {
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
func (e *storeEditor) opened(number shardNumber) *openShard {
	if e.open == nil {
		return nil
	}
	return e.open[number]
}

// edit opens a shard.
func (e *storeEditor) edit(number shardNumber) *openShard {
	open := e.opened(number)
	if open == nil {
		if e.open == nil {
			e.open = make([]*openShard, storeShards)
		}
		open = e.openOf(e.shard(number))
		e.open[number] = open
		e.dirty = append(e.dirty, number)
	}
	return open
}

// seal closes all shards that were opened, and returns the new version.
func (e *storeEditor) seal() *store {
	for _, number := range e.dirty {
		open := e.open[number]
		e.open[number] = nil
		page := number / pageShards
		if !e.owned[page] {
			e.owned[page] = true
			fresh := new(storePage)
			if e.pages[page] != nil {
				*fresh = *e.pages[page]
			}
			e.pages[page] = fresh
			e.written += int(unsafe.Sizeof(*fresh))
		}
		sealed := open.seal()
		e.written += len(sealed)
		e.pages[page][number%pageShards] = sealed
	}
	e.dirty = e.dirty[:0]
	e.owned = [storePages]bool{}
	version := e.store
	return &version
}

// openOf returns a shard that can be changed; a new one has room for what is expected.
func (e *storeEditor) openOf(sealed string) *openShard {
	const entryBytes = 48 // of a tenant or a host, more or less
	if len(sealed) < shardHead {
		return &openShard{in: &e.store, data: emptyShard(slotsFor(e.expected)+1, int(e.expected+1)*entryBytes)}
	}
	return &openShard{in: &e.store, data: append([]byte(nil), sealed...), used: load32(sealed, 0)} // a sealed shard has no slots of deleted entries
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
			panic("routing: a shard of the table has outgrown 16 MiB: some 200 GiB of documents")
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
