package upstream

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"gridrouter.io/router/metrics"
)

// counters are what is counted for one deck, for as long as documents name it.
type counters struct {
	lanes           [metrics.Lanes]lane
	opened          atomic.Uint64
	reused          atomic.Uint64
	closed          [CloseReasons]atomic.Uint64
	connectFailures atomic.Uint64
	ejections       atomic.Uint64
	retries         atomic.Uint64
	retriesRefused  atomic.Uint64
	failures        [Causes]atomic.Uint64
}

type lane struct {
	classes metrics.Classes
	metrics.Latencies
	_ [64]byte
}

// Counts is a copy of what a deck has counted so far.
type Counts struct {
	// Opened is how many connections were made, and Reused how many requests went on one that was
	// made before.
	Opened, Reused uint64
	// Closed is how many connections were closed, by [CloseReason].
	Closed [CloseReasons]uint64
	// ConnectFailures is how many connections could not be made.
	ConnectFailures uint64
	// Ejections is how often an address was taken out of use for a while.
	Ejections uint64
	// Retries is how often a request was sent once more, RetriesRefused how often it was not since
	// too many others were, and Retrying how many are being tried again now.
	Retries, RetriesRefused uint64
	Retrying                int64
	// Failures is how often the deck failed a request, by [Cause].
	Failures [Causes]uint64
}

// Counts returns a copy of what was counted so far.
func (d *Deck) Counts() Counts {
	c := &d.counters
	counts := Counts{
		Opened: c.opened.Load(), Reused: c.reused.Load(), ConnectFailures: c.connectFailures.Load(), Ejections: c.ejections.Load(),
		Retries: c.retries.Load(), RetriesRefused: c.retriesRefused.Load(), Retrying: d.retrying.Load(),
	}
	for why := range CloseReasons {
		counts.Closed[why] = c.closed[why].Load()
	}
	for cause := range Causes {
		counts.Failures[cause] = c.failures[cause].Load()
	}
	return counts
}

// Metrics shows decks to Prometheus. Its labels come from documents and from constants.
type Metrics struct {
	requests, firstByte, failures, inFlight, addresses, ejected, ejections, connectFailures, retries, retriesRefused,
	connections, opened, reused, closed *prometheus.Desc
}

// NewMetrics returns what shows decks. requests is the metric of finished requests, whose labels are
// the deck and the class of the status; it is described by whoever counts those without a deck.
func NewMetrics(requests *prometheus.Desc) *Metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gridrouter_"+name, help, labels, nil)
	}
	return &Metrics{
		requests:        requests,
		firstByte:       desc("deck_first_byte_seconds", "Time from choosing a deck's address, connecting included, to the head of its answer.", "deck"),
		failures:        desc("deck_failures_total", "Times that a deck failed a request, by what went wrong; one request may count twice if it is tried again.", "deck", "cause"),
		inFlight:        desc("deck_requests_in_flight", "Requests under way to a deck.", "deck"),
		addresses:       desc("deck_addresses", "Addresses of a deck in use.", "deck"),
		ejected:         desc("deck_ejected_addresses", "Addresses of a deck that are taken out of use for a while.", "deck"),
		ejections:       desc("deck_ejections_total", "Times that an address of a deck was taken out of use for a while.", "deck"),
		connectFailures: desc("upstream_connect_failures_total", "Connections to a deck that could not be made.", "deck"),
		retries:         desc("retries_total", "Requests that were sent to a deck once more.", "deck"),
		retriesRefused:  desc("retries_refused_total", "Requests that were not sent once more because too many others were.", "deck"),
		connections:     desc("upstream_connections", "Open connections to a deck, by state.", "deck", "state"),
		opened:          desc("upstream_connections_opened_total", "Connections made to a deck.", "deck"),
		reused:          desc("upstream_connections_reused_total", "Requests that were sent on a connection made before.", "deck"),
		closed:          desc("upstream_connections_closed_total", "Connections to a deck closed, by the reason.", "deck", "reason"),
	}
}

// Describe describes the metrics, as [prometheus.Collector] asks for, but for requests.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		m.firstByte, m.failures, m.inFlight, m.addresses, m.ejected, m.ejections, m.connectFailures, m.retries, m.retriesRefused,
		m.connections, m.opened, m.reused, m.closed,
	} {
		out <- desc
	}
}

// Collect shows one deck with the addresses that it has at the moment.
func (m *Metrics) Collect(out chan<- prometheus.Metric, d *Deck, endpoints []*Endpoint) {
	var classes metrics.ClassSums
	var took metrics.Histogram
	for i := range d.counters.lanes {
		took.Add(&d.counters.lanes[i].Latencies)
		classes.Add(&d.counters.lanes[i].classes)
	}
	open, idle, ejected := int64(0), int64(0), 0
	for _, e := range endpoints {
		open, idle = open+e.connections.Load(), idle+e.pool.idle.Load()
		if e.ejected() {
			ejected++
		}
	}
	counts := d.Counts()
	classes.Show(out, m.requests, d.name)
	took.Show(out, m.firstByte, d.name)
	metrics.Gauge(out, m.inFlight, float64(d.inFlight.Load()), d.name)
	metrics.Gauge(out, m.addresses, float64(len(endpoints)), d.name)
	metrics.Gauge(out, m.ejected, float64(ejected), d.name)
	metrics.Gauge(out, m.connections, float64(max(0, open-idle)), d.name, "busy")
	metrics.Gauge(out, m.connections, float64(idle), d.name, "idle")
	metrics.Count(out, m.ejections, counts.Ejections, d.name)
	metrics.Count(out, m.retries, counts.Retries, d.name)
	metrics.Count(out, m.retriesRefused, counts.RetriesRefused, d.name)
	metrics.Count(out, m.connectFailures, counts.ConnectFailures, d.name)
	metrics.Count(out, m.opened, counts.Opened, d.name)
	metrics.Count(out, m.reused, counts.Reused, d.name)
	for cause := NoFailure + 1; cause < Causes; cause++ {
		metrics.Count(out, m.failures, counts.Failures[cause], d.name, cause.String())
	}
	for why := range CloseReasons {
		metrics.Count(out, m.closed, counts.Closed[why], d.name, why.String())
	}
}
