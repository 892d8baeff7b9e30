package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/routing/compile"
)

// gslbNames keeps the last good form of each Gslb document, and publishes zones of them.
type gslbNames struct {
	decode  compile.Decoder
	newZone func([]*gslb.Document, gslb.ZoneConfig) *gslb.Zone
	publish func(*gslb.Zone)
	kind    string // of the source
	log     *zap.Logger

	mu        sync.Mutex // guards the rest
	config    gslb.ZoneConfig
	documents map[string]*gslb.Document // by name, the last good form
	stored    map[string]string         // by name, what the source holds, good or bad
	hash      catalog.Fingerprint       // of stored
	inForce   catalog.Fingerprint       // of documents
	problems  map[string]string         // by name, what is wrong with what the source holds
	faults    []discovery.Fault         // of the source
	allRead   bool                      // there was a moment when the source could read all that it has
	left      map[string]bool           // what the newest zone leaves out, and why
	guard     *gslbGuard
	answered  *gslbState // what is answered from; nil: nothing yet

	failures prometheus.Counter
	bad      prometheus.Gauge
	revision prometheus.Gauge
}

// gslbState is what a zone was made of. It never changes.
type gslbState struct {
	revision  int64
	hash      string               // of the stored documents
	inForce   string               // of the documents that are answered from
	documents []*gslb.Document     // by name
	problems  int                  // documents and files that are bad
	partial   bool                 // a part of the source has never been read
	leftOut   int                  // good ones that the zone had to leave out
	held      *catalog.StatusGuard // nil: nothing
}

// newGslbNames returns a keeper without any documents. kind is that of the source.
func newGslbNames(decode compile.Decoder, config gslb.ZoneConfig, kind string, publish func(*gslb.Zone), logger *zap.Logger, registry prometheus.Registerer) *gslbNames {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		registry.MustRegister(g)
		return g
	}
	failures := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gridrouter_gslb_update_failures_total", Help: "Updates that brought out a fault of gridrouter's own; what is answered is from before them.",
	})
	registry.MustRegister(failures)
	return &gslbNames{
		decode: decode, config: config, kind: kind, publish: publish, log: logger, newZone: gslb.NewZone, failures: failures,
		documents: map[string]*gslb.Document{}, stored: map[string]string{}, problems: map[string]string{},
		guard:    newGslbGuard(logger, registry),
		bad:      gauge("gridrouter_gslb_problems", "Documents and files that are bad; the last good form of each goes on being answered."),
		revision: gauge("gridrouter_gslb_revision", "Revision of the documents that are answered from."),
	}
}

// apply brings the documents up to date, but for what the guard holds, and answers from them.
func (n *gslbNames) apply(batch discovery.Batch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.guard.now = n.guard.clock()
	if batch.SourceChanged {
		n.guard.rebase(batch.Revision)
	}
	n.tellFaults(batch.Faults)
	if n.answered == nil && batch.Whole && len(batch.Put) == 0 && len(batch.Faults) > 0 {
		n.bad.Set(float64(len(n.faults)))
		return // what cannot be read is not empty: SERVFAIL, not "no such name"
	}
	n.allRead = n.allRead || !slices.ContainsFunc(batch.Faults, func(f discovery.Fault) bool { return compile.IsPlace(f.Origin) })
	for _, entry := range batch.Put {
		if value, known := n.stored[entry.Key]; !known || value != string(entry.Value) {
			n.put(entry)
		}
	}
	n.delete(n.gone(batch), batch)
	n.answer(batch.Revision)
}

// gone returns which names go with a batch, sorted, but for those whose deletion is held already.
func (n *gslbNames) gone(batch discovery.Batch) []string {
	names := slices.Sorted(slices.Values(batch.Deleted))
	if batch.Whole {
		given := make(map[string]bool, len(batch.Put))
		for _, entry := range batch.Put {
			given[entry.Key] = true
		}
		all := maps.Clone(n.stored)
		for name := range n.documents {
			all[name] = ""
		}
		maps.DeleteFunc(all, func(name, _ string) bool { return given[name] })
		names = slices.Sorted(maps.Keys(all))
	}
	return slices.DeleteFunc(names, func(name string) bool { return n.guard.held[name] != 0 })
}

// delete drops names, or holds their deletion if it is a mass change, or came with another source.
func (n *gslbNames) delete(names []string, batch discovery.Batch) {
	for _, name := range names {
		if value, known := n.stored[name]; known {
			n.hash.Remove(name, []byte(value))
			delete(n.stored, name)
		}
		delete(n.problems, name)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return n.documents[name] == nil })
	meant := batch.Revision <= n.guard.accepted
	// What another source does not have is more often lost with it than deleted there.
	lost := (batch.SourceChanged && n.kind != compile.OriginFiles || batch.Whole && n.guard.wary) && len(names) > 0
	n.guard.wary = n.guard.wary && !batch.Whole
	if (n.guard.holds(names, n.documents, batch.MayLookEmpty) || lost) && !meant {
		n.guard.hold(names, batch.Revision)
		return
	}
	for _, name := range names {
		n.setDocument(name, nil)
		if !meant { // what is accepted counts for nothing later
			n.guard.recent[name] = n.guard.now
		}
	}
}

// put takes one new or changed document. A bad one leaves the last good form in force.
func (n *gslbNames) put(entry discovery.Entry) {
	if value, known := n.stored[entry.Key]; known {
		n.hash.Remove(entry.Key, []byte(value))
	}
	n.stored[entry.Key] = string(entry.Value)
	n.hash.Add(entry.Key, entry.Value)
	n.guard.release(entry.Key)
	decoded, err := n.decode(catalog.FolderGslb+"/"+entry.Key, entry.Value)
	if document, ok := decoded.(*gslb.Document); ok && err == nil {
		n.setDocument(entry.Key, document)
		delete(n.problems, entry.Key)
		return
	}
	fault := "is not a Gslb document"
	if err != nil {
		fault = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if n.problems[entry.Key] != fault {
		n.log.Warn("a bad document; its last good form, if there is one, stays in force",
			zap.String("name", entry.Key), zap.String("origin", entry.Origin), zap.Int64("revision", entry.Revision), zap.String("fault", fault))
	}
	n.problems[entry.Key] = fault
}

// setDocument puts a document into force, or takes it out of force if it is nil.
func (n *gslbNames) setDocument(name string, document *gslb.Document) {
	if former := n.documents[name]; former != nil {
		n.inForce.Remove(name, canonicalForm(former))
		delete(n.documents, name)
	}
	if document != nil {
		n.inForce.Add(name, canonicalForm(document))
		n.documents[name] = document
	}
}

// canonicalForm is the same for all stored forms that say the same.
func canonicalForm(document *gslb.Document) []byte {
	form, _ := json.Marshal(document.Canonical()) // plain values always have a JSON form
	return form
}

// accept drops the names whose deletion the guard holds, up to a revision.
func (n *gslbNames) accept(revision int64) {
	if revision > n.guard.accepted {
		n.guard.accepted = revision
		clear(n.guard.recent) // what came before the word is meant by it, as routers take it
	}
	released := n.guard.releaseAccepted()
	for _, name := range released {
		n.setDocument(name, nil)
	}
	if len(released) > 0 && n.answered != nil {
		n.answer(n.answered.revision)
	}
}

// acceptMarks accepts what the marks in etcd say. It is what marks are followed with.
func (n *gslbNames) acceptMarks(batch discovery.Batch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if batch.SourceChanged {
		return // they speak of other revisions
	}
	for _, entry := range batch.Put {
		if entry.Key != catalog.MarkAccept {
			continue
		}
		mark, err := catalog.DecodeMark(entry.Value, entry.Revision)
		if err != nil {
			n.log.Warn("a mark for the guard is ignored", zap.Int64("revision", entry.Revision), zap.Error(err))
			continue
		}
		n.accept(mark.Revision)
	}
}

// acceptHeld is accept for who asks at the process itself, where the source has no marks.
func (n *gslbNames) acceptHeld(revision int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch held := n.guard.revision(); {
	case n.kind == "etcd":
		return errors.New("this server follows etcd, where all are told at once; write gridctl guard accept REVISION, without --router")
	case held == 0:
		return errors.New("this server holds nothing")
	case revision < held:
		return fmt.Errorf("what is held came up to revision %d; accept that", held)
	default:
		n.accept(held)
		return nil
	}
}

// answer publishes a zone of the documents. Where that panics, the answers stay what they are,
// and the next change tries again.
func (n *gslbNames) answer(revision int64) {
	n.guard.tell(revision, len(n.documents))
	next := &gslbState{
		revision: revision, hash: n.hash.String(), inForce: n.inForce.String(), problems: len(n.problems) + len(n.faults), held: n.guard.status.Load(), partial: !n.allRead,
	}
	if was := n.answered; was != nil && was.inForce == next.inForce && was.partial == next.partial { // names that stay need no new zone
		next.documents, next.leftOut = was.documents, was.leftOut
	} else if !n.publishZone(next) {
		return
	}
	n.answered = next
	n.bad.Set(float64(next.problems + next.leftOut))
	n.revision.Set(float64(revision))
}

// publishZone answers from the documents, and notes them in the state. False: that panicked.
func (n *gslbNames) publishZone(next *gslbState) bool {
	n.config.Serial, n.config.Partial = uint32(next.revision), next.partial // serial numbers wrap around (RFC 1982)
	documents := n.sorted()
	zone, err := n.zone(documents)
	if err != nil {
		n.failures.Inc()
		n.log.Error("GRIDROUTER HAS A FAULT, which a document has brought out: the answers stay what they are; please report this",
			zap.Int64("revision", next.revision), zap.Error(err))
		return false
	}
	n.publish(zone)
	next.documents, next.leftOut = documents, len(zone.Problems())
	n.tellLeftOut(zone.Problems())
	if next.partial {
		n.log.Error("some files of names could never be read: SERVFAIL for each name that no other has, until they can", zap.Int("faults", len(n.faults)))
	}
	n.log.Info("answering from new documents", zap.Int64("revision", next.revision), zap.Int("names", zone.Names()))
	return true
}

// describe puts what is answered from, and what is held, into a server's word of itself.
func (n *gslbNames) describe(status *catalog.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	status.Guard, status.Hash = n.guard.status.Load(), catalog.Fingerprint{}.String()
	if n.answered != nil {
		status.Revision, status.Problems = n.answered.revision, n.answered.problems+n.answered.leftOut
		status.Hash, status.EffectiveHash = n.answered.hash, n.answered.inForce
	}
}

// zone makes a zone of the documents. An error is a panic on the way.
func (n *gslbNames) zone(documents []*gslb.Document) (zone *gslb.Zone, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v\n%s", p, debug.Stack())
		}
	}()
	return n.newZone(documents, n.config), nil
}

// sorted returns the documents by name.
func (n *gslbNames) sorted() []*gslb.Document {
	all := make([]*gslb.Document, 0, len(n.documents))
	for _, name := range slices.Sorted(maps.Keys(n.documents)) {
		all = append(all, n.documents[name])
	}
	return all
}

// tellFaults logs what the source cannot read, if it could before.
func (n *gslbNames) tellFaults(faults []discovery.Fault) {
	known := make(map[discovery.Fault]bool, len(n.faults))
	for _, fault := range n.faults {
		known[fault] = true
	}
	for _, fault := range faults {
		if !known[fault] {
			n.log.Warn("a file cannot be read; what it held stays in force", zap.String("origin", fault.Origin), zap.String("fault", fault.Message))
		}
	}
	n.faults = slices.Clone(faults)
}

// toldAtOnce is how many names that are left out are logged for one update: a wrong --origin leaves out
// all of them, and of more the number says enough.
const toldAtOnce = 10

// tellLeftOut logs what a zone leaves out, if the one before it did not.
func (n *gslbNames) tellLeftOut(problems []gslb.Problem) {
	left := make(map[string]bool, len(problems))
	told := 0
	for _, problem := range problems {
		text := problem.Name + ": " + problem.Err.Error()
		left[text] = true
		if n.left[text] {
			continue
		}
		if told++; told <= toldAtOnce {
			n.log.Warn("a name is left out", zap.String("name", problem.Name), zap.Error(problem.Err))
		}
	}
	if told > toldAtOnce {
		n.log.Warn("more names are left out", zap.Int("names", told-toldAtOnce), zap.Int("inAll", len(left)))
	}
	n.left = left
}
