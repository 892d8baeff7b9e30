package main

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/routing"
)

// gslbNames keeps the last good form of each Gslb document, and makes zones of them. It
// belongs to the goroutine that follows the source.
type gslbNames struct {
	decode    routing.Decoder
	config    gslb.ZoneConfig
	log       *zap.Logger
	documents map[string]*gslb.Document // by name, the last good form
	problems  map[string]string         // by name, what is wrong with the newest form
	faults    []discovery.Fault         // of the source
	left      []string                  // what the newest zone leaves out
	newZone   func([]*gslb.Document, gslb.ZoneConfig) *gslb.Zone
	failures  prometheus.Counter
	bad       prometheus.Gauge
	revision  prometheus.Gauge
}

// newGslbNames returns a keeper without any documents.
func newGslbNames(decode routing.Decoder, config gslb.ZoneConfig, logger *zap.Logger, registry prometheus.Registerer) *gslbNames {
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
		decode: decode, config: config, log: logger, newZone: gslb.NewZone, failures: failures,
		documents: map[string]*gslb.Document{}, problems: map[string]string{},
		bad:      gauge("gridrouter_gslb_problems", "Documents and files that are bad; the last good form of each goes on being answered."),
		revision: gauge("gridrouter_gslb_revision", "Revision of the documents that are answered from."),
	}
}

// apply returns what the source is followed with: each batch becomes a zone to publish.
func (n *gslbNames) apply(publish func(*gslb.Zone)) func(discovery.Batch) {
	return func(batch discovery.Batch) {
		n.take(batch)
		n.config.Serial = uint32(batch.Revision) // serial numbers wrap around (RFC 1982)
		zone, err := n.zone()
		if err != nil {
			n.failures.Inc()
			n.log.Error("GRIDROUTER HAS A FAULT, which a document has brought out: the answers stay what they are; please report this",
				zap.Int64("revision", batch.Revision), zap.Error(err))
			return
		}
		publish(zone)
		n.tellLeftOut(zone.Problems())
		n.bad.Set(float64(len(n.problems) + len(n.faults) + len(zone.Problems())))
		n.revision.Set(float64(batch.Revision))
		n.log.Info("answering from new documents", zap.Int64("revision", batch.Revision), zap.Int("names", zone.Names()))
	}
}

// zone makes a zone of the documents. An error is a panic on the way: the next change tries again.
func (n *gslbNames) zone() (zone *gslb.Zone, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v\n%s", p, debug.Stack())
		}
	}()
	return n.newZone(n.sorted(), n.config), nil
}

// tellLeftOut logs what a zone leaves out, if the one before it did not.
func (n *gslbNames) tellLeftOut(problems []gslb.Problem) {
	left := make([]string, 0, len(problems))
	for _, problem := range problems {
		text := problem.Name + ": " + problem.Err.Error()
		if !slices.Contains(n.left, text) {
			n.log.Warn("a name is left out", zap.String("name", problem.Name), zap.Error(problem.Err))
		}
		left = append(left, text)
	}
	n.left = left
}

// take brings the documents up to date. A bad one keeps its last good form.
func (n *gslbNames) take(batch discovery.Batch) {
	given := make(map[string]bool, len(batch.Put))
	for _, entry := range batch.Put {
		given[entry.Key] = true
		n.put(entry)
	}
	gone := func(name string) bool { return batch.Whole && !given[name] || slices.Contains(batch.Deleted, name) }
	maps.DeleteFunc(n.documents, func(name string, _ *gslb.Document) bool { return gone(name) })
	maps.DeleteFunc(n.problems, func(name, _ string) bool { return gone(name) })
	for _, fault := range batch.Faults {
		if !slices.Contains(n.faults, fault) {
			n.log.Warn("a file cannot be read; what it held stays in force", zap.String("origin", fault.Origin), zap.String("fault", fault.Message))
		}
	}
	n.faults = slices.Clone(batch.Faults)
}

// put takes one new or changed document.
func (n *gslbNames) put(entry discovery.Entry) {
	decoded, err := n.decode(catalog.FolderGslb+"/"+entry.Key, entry.Value)
	if document, ok := decoded.(*gslb.Document); ok && err == nil {
		n.documents[entry.Key] = document
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

// sorted returns the documents by name.
func (n *gslbNames) sorted() []*gslb.Document {
	all := make([]*gslb.Document, 0, len(n.documents))
	for _, name := range slices.Sorted(maps.Keys(n.documents)) {
		all = append(all, n.documents[name])
	}
	return all
}
