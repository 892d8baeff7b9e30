package discovery

import "github.com/prometheus/client_golang/prometheus"

// Why a whole list was made; the values of the lists metric's reason label.
const (
	becauseStart     = "start"
	becauseCompacted = "compacted"
	becauseSource    = "source_changed"
	becauseOrder     = "out_of_order"
	becauseMissing   = "missing"
)

// Why a watch stream was given up; the values of the reason label of the
// metric of streams given up.
const (
	streamSilent      = "silent"      // etcd answers, the stream does not
	streamBehind      = "behind"      // the stream does not reach the leader's revision
	streamUnreachable = "unreachable" // the connection stands, and nothing answers
)

// metrics are the counters of one source. A source of each kind fits on one
// registry; whoever has two of a kind wraps the registerer with a label.
type metrics struct {
	entries  prometheus.Counter
	batches  prometheus.Counter
	failures prometheus.Counter
	lists    *prometheus.CounterVec // etcd only
	watches  prometheus.Counter     // etcd only
	changes  prometheus.Counter     // etcd only
	audits   prometheus.Counter     // etcd only
	probes   prometheus.Counter     // etcd only
	givenUp  *prometheus.CounterVec // etcd only
	clients  prometheus.Counter     // etcd only
}

// newMetrics makes the metrics of a source and registers them on registerer,
// which may be nil: then they are counted for nobody.
func newMetrics(kind string, registerer prometheus.Registerer, status func() Status) *metrics {
	labels := prometheus.Labels{"source": kind}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value)
	}
	m := &metrics{
		entries:  counter("gridrouter_discovery_entries_total", "Entries put or deleted that the source has delivered, whole lists included."),
		batches:  counter("gridrouter_discovery_batches_total", "Batches that the source has delivered."),
		failures: counter("gridrouter_discovery_failures_total", "Contacts with the source that went wrong; each is retried."),
		lists: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gridrouter_discovery_lists_total",
			Help: "Whole lists made, by the reason for making one.", ConstLabels: labels}, []string{"reason"}),
		watches: counter("gridrouter_discovery_watches_total", "Watch streams opened by this process; the first is one of them."),
		changes: counter("gridrouter_discovery_source_changes_total", "Times that another or a restored source was found to answer."),
		audits:  counter("gridrouter_discovery_audits_total", "Whole lists made beside the watch and delivered for no other reason than to compare."),
		probes:  counter("gridrouter_discovery_probes_total", "Reads through etcd's leader that compared revision and count of keys with what the watch has brought."),
		givenUp: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gridrouter_discovery_streams_given_up_total",
			Help: "Watch streams that were closed although they had not failed, by the reason.", ConstLabels: labels}, []string{"reason"}),
		clients: counter("gridrouter_discovery_clients_total", "Clients of etcd that the source has made; the first is one of them."),
	}
	// Each series is there from the start: an alert on the increase of a counter misses the first
	// increase of a series that begins with it.
	for _, reason := range []string{becauseStart, becauseCompacted, becauseSource, becauseOrder, becauseMissing} {
		m.lists.WithLabelValues(reason)
	}
	for _, reason := range []string{streamSilent, streamBehind, streamUnreachable} {
		m.givenUp.WithLabelValues(reason)
	}
	if registerer == nil {
		return m
	}
	registerer.MustRegister(m.entries, m.batches, m.failures,
		gauge("gridrouter_discovery_age_seconds", "Time since the source last proved that this process is up to date.",
			func() float64 { return status().Age.Seconds() }),
		gauge("gridrouter_discovery_revision", "The source's revision that this process has been brought to.",
			func() float64 { return float64(status().Revision) }),
		gauge("gridrouter_discovery_connected", "1 while the last contact with the source went well, else 0.",
			func() float64 { return oneIf(status().Connected) }))
	if kind == kindEtcd {
		registerer.MustRegister(m.lists, m.watches, m.changes, m.audits, m.probes, m.givenUp, m.clients,
			gauge("gridrouter_discovery_leader_revision", "Newest revision that a read through etcd's leader has shown.",
				func() float64 { return float64(status().Leader) }))
	}
	return m
}

// delivered counts one batch.
func (m *metrics) delivered(b Batch) {
	m.batches.Inc()
	m.entries.Add(float64(len(b.Put) + len(b.Deleted) + len(b.Marks) + len(b.MarksDeleted)))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
