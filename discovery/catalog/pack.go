package catalog

import (
	"bytes"
	"fmt"
	"slices"
)

// Limits of one transaction. etcd itself takes 1.5 MiB, the rest is for what surrounds it.
const (
	maxTxnBytes = 1 << 20
	// perOp is about how many bytes an operation takes beside its key and value.
	perOp = 32
)

// step is one transaction.
type step struct {
	writes     []write
	claims     []claimWrite
	ranges     []keyRange
	conditions []condition
	// marked says that the routers' guard is told that the step is meant.
	marked bool
	// finishes are the documents whose change is complete with this transaction.
	finishes []string
}

// write is a document's change, and its record.
type write struct {
	key           string
	before, after []byte // stored forms; nil: none
	created       int64  // creation revision of before
	number        int64  // of the record
}

// batch gathers the pieces of one transaction.
type batch struct {
	docs       []string
	claims     map[string]string
	conditions map[condition]bool
	order      []condition
	ranges     []keyRange
	bytes      int
}

func newBatch() *batch {
	return &batch{claims: map[string]string{}, conditions: map[condition]bool{}}
}

func (b *batch) empty() bool {
	return len(b.docs) == 0 && len(b.claims) == 0 && len(b.ranges) == 0
}

// opsPerDoc: the document, its record, and the deletion of the records that are too old.
const opsPerDoc = 3

// opsPerRange makes one transaction delete few ranges: each stands for many documents.
const opsPerRange = 100

// load is what a transaction costs of each limit.
type load struct{ ops, conditions, bytes int }

func (l load) fits() bool {
	return l.ops <= maxOps && l.conditions <= maxOps && l.bytes <= maxTxnBytes
}

// with returns the load of the batch and some more pieces.
func (p *planner) with(b *batch, pieces []op) load {
	l := load{ops: len(b.claims) + opsPerRange*len(b.ranges), conditions: len(b.conditions), bytes: b.bytes}
	if len(p.masses) > 0 {
		l.ops++
		if b.empty() { // afterwards its bytes are among the batch's
			l.bytes += p.markBytes()
		}
	}
	docs, claims, conditions := map[string]bool{}, map[string]bool{}, map[condition]bool{}
	for _, key := range b.docs {
		docs[key] = true
		l.ops += p.docOps(key)
	}
	for i := range pieces {
		piece := &pieces[i]
		for _, key := range piece.docs {
			if !docs[key] {
				docs[key] = true
				l.ops += p.docOps(key)
				l.bytes += p.docBytes(key)
			}
		}
		for _, c := range piece.claims {
			if _, there := b.claims[c.host]; !there && !claims[c.host] {
				claims[c.host] = true
				l.ops++
				l.bytes += claimBytes(c)
			}
		}
		for _, c := range p.conditionsOf(piece) {
			if !b.conditions[c] && !conditions[c] {
				conditions[c] = true
				l.conditions++
				l.bytes += len(c.key) + perOp
			}
		}
		l.ops += opsPerRange * len(piece.ranges)
	}
	return l
}

func (p *planner) docOps(key string) int {
	if p.w.items[key].record < KeptRecords {
		return opsPerDoc - 1
	}
	return opsPerDoc
}

func (p *planner) docBytes(key string) int {
	return p.draft(key).estimate() + recordOverhead + 2*len(p.options.Why) + 2*len(p.who) + opsPerDoc*(len(key)+len(p.at)+perOp)
}

func claimBytes(c claimWrite) int { return len(c.host) + len(c.tenant) + 2*perOp }

// conditionsOf returns what a piece relies upon: what it names, and the documents that it writes.
func (p *planner) conditionsOf(piece *op) []condition {
	conditions := slices.Clone(piece.conditions)
	for _, key := range piece.docs {
		conditions = append(conditions, p.docCondition(key))
	}
	return conditions
}

// pack divides the work into transactions. A unit is kept together if it fits.
func (p *planner) pack(units [][]op) error {
	b := newBatch()
	last := map[string]int{} // document -> the step that ends its change
	add := func(pieces []op) error {
		if !b.empty() && !p.with(b, pieces).fits() {
			if err := p.flush(b); err != nil {
				return err
			}
			b = newBatch()
		}
		b.bytes = p.with(b, pieces).bytes
		for i := range pieces {
			p.take(b, &pieces[i])
			for _, key := range append(pieces[i].docs, pieces[i].owner) {
				last[key] = len(p.steps)
			}
		}
		return nil
	}
	for _, unit := range units {
		if p.with(newBatch(), unit).fits() {
			if err := add(unit); err != nil {
				return err
			}
			continue
		}
		for i := range unit {
			if err := add(unit[i : i+1]); err != nil {
				return err
			}
		}
	}
	if !b.empty() {
		if err := p.flush(b); err != nil {
			return err
		}
	}
	p.settleOrder(units)
	for _, key := range p.order {
		if at, writes := last[key]; writes {
			p.steps[at].finishes = append(p.steps[at].finishes, key)
		}
	}
	return nil
}

// settleOrder puts the changes into the order of writing; what stays as it is comes last.
func (p *planner) settleOrder(units [][]op) {
	ordered, placed := make([]string, 0, len(p.order)), make(map[string]bool, len(p.order))
	place := func(key string) {
		if p.changes[key] != nil && !placed[key] {
			placed[key] = true
			ordered = append(ordered, key)
		}
	}
	for _, unit := range units {
		for i := range unit {
			// Behind the owner stand the tenants that its change brings with it.
			for _, key := range slices.Backward(unit[i].docs) {
				place(key)
			}
			place(unit[i].owner)
		}
	}
	for _, key := range p.order {
		place(key)
	}
	p.order = ordered
}

// take adds a piece to a batch.
func (p *planner) take(b *batch, piece *op) {
	if piece.move != nil {
		piece.move()
	}
	for _, key := range piece.docs {
		if !slices.Contains(b.docs, key) {
			b.docs = append(b.docs, key)
		}
	}
	for _, c := range piece.claims {
		b.claims[c.host] = c.tenant
	}
	for _, c := range p.conditionsOf(piece) {
		if !b.conditions[c] {
			b.conditions[c] = true
			b.order = append(b.order, c)
		}
	}
	b.ranges = append(b.ranges, piece.ranges...)
}

// flush makes a transaction of a batch. That it fits was an estimate so far.
func (p *planner) flush(b *batch) error {
	s := step{conditions: b.order, ranges: b.ranges}
	size, ops := 0, len(b.claims)+len(b.ranges)
	for _, key := range b.docs {
		d := p.draft(key)
		after, err := d.next()
		if err != nil {
			return err
		}
		if bytes.Equal(d.value, after) {
			continue
		}
		if d.tenant != nil && after != nil && len(d.tenant.held) == 0 {
			return p.tooMuch(b, p.with(b, nil).bytes)
		}
		ops += p.docOps(key)
		d.item.record++
		s.marked = s.marked || p.masses[key]
		s.writes = append(s.writes, write{key: key, before: d.value, after: after, created: d.item.created, number: d.item.record})
		size += len(forRecord(d.value)) + len(forRecord(after)) + len(after) + recordOverhead + len(p.options.Why) + len(p.who)
		d.value = after
	}
	for _, host := range sortedKeys(b.claims) {
		c := claimWrite{host, b.claims[host]}
		s.claims = append(s.claims, c)
		size += claimBytes(c)
	}
	if s.marked {
		ops++
		size += p.markBytes()
	}
	if ops > maxOps || len(b.order) > maxOps || size > maxTxnBytes {
		return p.tooMuch(b, size)
	}
	p.steps = append(p.steps, s)
	return nil
}

// tooMuch refuses what must be one transaction, but does not fit one.
func (p *planner) tooMuch(b *batch, size int) error {
	it := p.w.items[b.docs[0]]
	return refused([]error{refusal(it, "", "changes too much at once for one transaction of etcd (%s; %d KiB of at most %d); apply it in smaller parts, such as first the hosts that it gives up, then those that it takes",
		joinNames(b.docs), (size+1023)>>10, maxTxnBytes>>10)})
}

// joinNames names the first few documents.
func joinNames(keys []string) string {
	const few = 4
	text := ""
	for i, key := range keys[:min(few, len(keys))] {
		if i > 0 {
			text += ", "
		}
		text += describe(key)
	}
	if len(keys) > few {
		text += fmt.Sprintf(" and %d more", len(keys)-few)
	}
	return text
}
