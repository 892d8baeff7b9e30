package router

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gridrouter.io/router/metrics"
	"gridrouter.io/router/upstream"
)

// AccessLogLanes is how many lanes an access log should have for a Router (see package accesslog).
const AccessLogLanes = metrics.Lanes

// lane is one copy of the counters.
type lane struct {
	index         int
	inFlight      atomic.Int64
	receivedBytes atomic.Uint64
	sentBytes     atomic.Uint64
	classes       metrics.Classes // of requests without a deck
	metrics.Latencies
	faults []atomic.Uint64 // by place in faults.All
	_      [64]byte
}

// counters are what the router counts, but for what belongs to a deck.
type counters struct {
	lanes     [metrics.Lanes]lane
	turn      atomic.Uint32
	publishes atomic.Uint64
}

func (c *counters) init(faults int) {
	for i := range c.lanes {
		c.lanes[i].index = i
		c.lanes[i].faults = make([]atomic.Uint64, faults)
	}
}

// nextLane gives connections to lanes in turn.
func (c *counters) nextLane() *lane { return &c.lanes[c.turn.Add(1)%metrics.Lanes] }

func (c *counters) inFlight() int64 {
	total := int64(0)
	for i := range c.lanes {
		total += c.lanes[i].inFlight.Load()
	}
	return total
}

// collector shows the counters to Prometheus. Its labels come from documents (decks) and
// from constants; never from clients.
type collector struct {
	router *Router

	upstream *upstream.Metrics // of each deck

	requests, faults, duration, inFlight, clients, clientsTotal, received, sent,
	tunnels, clientsRefused, clientTimeouts, acceptPauses, evictions,
	revision, age, problems, tenants, hosts, decks, pins, publishes, kept,
	ready, draining, acceptErrors, logLines, logDropped *prometheus.Desc
}

// NewCollector returns a collector of everything that the router counts, to be registered
// once. docs/METRICS.md lists its metrics.
func NewCollector(r *Router) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gridrouter_"+name, help, labels, nil)
	}
	requests := desc("requests_total", "Requests finished, by deck and class of the status; without a deck the label is empty.", "deck", "class")
	return &collector{
		upstream:       upstream.NewMetrics(requests),
		router:         r,
		requests:       requests,
		faults:         desc("faults_total", "Requests that ended in a fault of the router's, by its code.", "fault"),
		duration:       desc("request_duration_seconds", "Time from the head of a request to the end of its answer."),
		inFlight:       desc("requests_in_flight", "Requests begun and not yet finished."),
		clients:        desc("client_connections", "Open connections from clients."),
		clientsTotal:   desc("client_connections_total", "Connections accepted from clients."),
		received:       desc("client_received_bytes_total", "Bytes received from clients."),
		sent:           desc("client_sent_bytes_total", "Bytes sent to clients."),
		tunnels:        desc("tunnels", "Open tunnels: connections that were upgraded to another protocol, such as WebSocket."),
		clientsRefused: desc("client_connections_refused_total", "Connections from clients that ended before a request could, by the reason.", "reason"),
		clientTimeouts: desc("client_timeouts_total", "Clients given up because they took too long, by what was waited for.", "wait"),
		evictions:      desc("client_evictions_total", "Connections whose client was waited for, closed to make room for another one.", "because"),
		acceptPauses:   desc("accept_pauses_total", "Times that no connection was accepted for a moment because as many as allowed were open."),
		revision:       desc("table_revision", "Revision of the table in force."),
		age:            desc("table_age_seconds", "Time since the table in force was published."),
		problems:       desc("table_problems", "Problems of the documents of the table in force."),
		tenants:        desc("table_tenants", "Tenants of the table in force."),
		hosts:          desc("table_hosts", "Hosts of the table in force."),
		decks:          desc("table_decks", "Decks of the table in force."),
		pins:           desc("table_pins", "Pins of the table in force."),
		publishes:      desc("table_publishes_total", "Tables published."),
		kept:           desc("tables_kept", "Tables kept to explain by: the one in force, and those before it."),
		ready:          desc("ready", "1 while the router is ready, else 0."),
		draining:       desc("draining", "1 from the beginning of draining, else 0."),
		acceptErrors:   desc("accept_errors_total", "Failures to accept a connection, such as no free descriptors."),
		logLines:       desc("access_log_lines_total", "Lines written to the access log."),
		logDropped:     desc("access_log_dropped_total", "Lines of the access log that were lost, by the reason: too many waited to be written, or writing failed.", "reason"),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		c.requests, c.faults, c.duration, c.inFlight, c.clients, c.clientsTotal, c.received, c.sent,
		c.tunnels, c.clientsRefused, c.clientTimeouts, c.acceptPauses, c.evictions,
		c.revision, c.age, c.problems, c.tenants, c.hosts, c.decks, c.pins, c.publishes, c.kept,
		c.ready, c.draining, c.acceptErrors, c.logLines, c.logDropped,
	} {
		out <- desc
	}
	c.upstream.Describe(out)
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.collectRequests(out)
	c.collectDecks(out)
	c.collectTable(out)
	r := c.router
	open, total := r.clients.count()
	metrics.Gauge(out, c.clients, float64(open))
	metrics.Count(out, c.clientsTotal, total)
	metrics.Gauge(out, c.ready, oneIf(r.Ready() == nil))
	metrics.Gauge(out, c.draining, oneIf(r.drain.closing()))
	metrics.Count(out, c.acceptErrors, r.acceptErrors.Load())
	metrics.Count(out, c.acceptPauses, r.acceptPauses.Load())
	metrics.Count(out, c.evictions, r.clients.evicted.places.Load(), "all_places")
	metrics.Count(out, c.evictions, r.clients.evicted.address.Load(), "address_share")
	metrics.Gauge(out, c.tunnels, float64(r.tunnels.count()))
	for wait := range clientWaits {
		metrics.Count(out, c.clientTimeouts, r.clientTimeouts[wait].Load(), wait.String())
	}
	for why := range refusalReasons {
		metrics.Count(out, c.clientsRefused, r.refused.total[why].Load(), why.String())
	}
	var lines, slow, failed uint64
	if log := r.cfg.AccessLog; log != nil {
		lines, slow, failed = log.Counts()
	}
	metrics.Count(out, c.logLines, lines)
	metrics.Count(out, c.logDropped, slow, "slow")
	metrics.Count(out, c.logDropped, failed, "failed")
}

func (c *collector) collectRequests(out chan<- prometheus.Metric) {
	r := c.router
	var received, sent uint64
	var classes metrics.ClassSums
	var took metrics.Histogram
	kinds := r.faults.Kinds()
	failed := make([]uint64, len(kinds))
	for i := range r.counters.lanes {
		l := &r.counters.lanes[i]
		received, sent = received+l.receivedBytes.Load(), sent+l.sentBytes.Load()
		took.Add(&l.Latencies)
		classes.Add(&l.classes)
		for k := range failed {
			failed[k] += l.faults[k].Load()
		}
	}
	metrics.Gauge(out, c.inFlight, float64(r.counters.inFlight()))
	metrics.Count(out, c.received, received)
	metrics.Count(out, c.sent, sent)
	classes.Show(out, c.requests, "")
	for k, n := range failed {
		metrics.Count(out, c.faults, n, string(kinds[k].Code))
	}
	took.Show(out, c.duration)
}

func (c *collector) collectDecks(out chan<- prometheus.Metric) {
	now := c.router.published.Load()
	if now == nil {
		return
	}
	for _, view := range now.decks {
		if view != nil {
			c.upstream.Collect(out, view.live, view.endpoints)
		}
	}
}

func (c *collector) collectTable(out chan<- prometheus.Metric) {
	metrics.Count(out, c.publishes, c.router.counters.publishes.Load())
	metrics.Gauge(out, c.kept, float64(c.router.history.Count()))
	now := c.router.published.Load()
	if now == nil {
		return
	}
	counts := now.table.Counts()
	metrics.Gauge(out, c.revision, float64(now.table.Revision()))
	metrics.Gauge(out, c.age, time.Since(now.at).Seconds())
	metrics.Gauge(out, c.problems, float64(counts.Problems))
	metrics.Gauge(out, c.tenants, float64(counts.Tenants))
	metrics.Gauge(out, c.hosts, float64(counts.Hosts))
	metrics.Gauge(out, c.decks, float64(counts.Decks))
	metrics.Gauge(out, c.pins, float64(counts.Pins))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
