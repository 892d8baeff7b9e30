package router

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lanes is in how many copies the counters of the request path are kept, so that cores
// do not fight over them. A connection from a client belongs to one lane.
const lanes = 8

// AccessLogLanes is how many lanes an access log should have for a Router (see package accesslog).
const AccessLogLanes = lanes

// bounds are the upper bounds of the latency histogram's buckets.
var bounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
}

// classes of statuses: nothing sent, 2xx to 5xx; 1xx is never final.
const statusClasses = 6

func classOf(status int) int { return min(status/100, statusClasses-1) }

var classNames = [statusClasses]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// lane is one copy of the counters.
type lane struct {
	index    int
	inFlight atomic.Int64
	received atomic.Uint64
	sent     atomic.Uint64
	classes  [statusClasses]atomic.Uint64 // of requests without a deck
	latencies
	faults []atomic.Uint64 // by place in the table of faults
	_      [64]byte
}

// latencies are counts for a histogram.
type latencies struct {
	buckets [len(bounds) + 1]atomic.Uint64
	spent   atomic.Int64 // nanoseconds of all
}

func (l *latencies) observe(took time.Duration) {
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	l.buckets[i].Add(1)
	l.spent.Add(int64(took))
}

// counters are what the router counts, but for what belongs to a deck.
type counters struct {
	lanes     [lanes]lane
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
func (c *counters) nextLane() *lane { return &c.lanes[c.turn.Add(1)%lanes] }

func (c *counters) inFlight() int64 {
	total := int64(0)
	for i := range c.lanes {
		total += c.lanes[i].inFlight.Load()
	}
	return total
}

// deckCounters are what is counted for one deck, for as long as documents name it.
type deckCounters struct {
	lanes           [lanes]deckLane
	opened          atomic.Uint64
	reused          atomic.Uint64
	closed          [closeReasons]atomic.Uint64
	connectFailures atomic.Uint64
	ejections       atomic.Uint64
	retries         atomic.Uint64
	retriesRefused  atomic.Uint64
	failures        [failureCauses]atomic.Uint64
}

type deckLane struct {
	classes [statusClasses]atomic.Uint64
	latencies
	_ [64]byte
}

// collector shows the counters to Prometheus. Its labels come from documents (decks) and
// from constants; never from clients.
type collector struct {
	router *Router

	requests, faults, duration, deckDuration, deckFailures, inFlight, clients, clientsTotal, received, sent,
	deckInFlight, deckAddresses, ejected, ejections, connectFailures,
	retries, retriesRefused, tunnels, clientsRefused, clientTimeouts, acceptPauses, evictions,
	upstreams, opened, reused, closed,
	revision, age, problems, tenants, hosts, decks, pins, publishes, kept,
	ready, draining, acceptErrors, logLines, logDropped *prometheus.Desc
}

// NewCollector returns a collector of everything that the router counts, to be registered
// once. docs/METRICS.md lists its metrics.
func NewCollector(r *Router) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gridrouter_"+name, help, labels, nil)
	}
	return &collector{
		router:          r,
		requests:        desc("requests_total", "Requests finished, by deck and class of the status; without a deck the label is empty.", "deck", "class"),
		faults:          desc("faults_total", "Requests that ended in a fault of the router's, by its code.", "fault"),
		duration:        desc("request_duration_seconds", "Time from the head of a request to the end of its answer."),
		deckDuration:    desc("deck_first_byte_seconds", "Time from choosing a deck's address, connecting included, to the head of its answer.", "deck"),
		deckFailures:    desc("deck_failures_total", "Times that a deck failed a request, by what went wrong; one request may count twice if it is tried again.", "deck", "cause"),
		inFlight:        desc("requests_in_flight", "Requests begun and not yet finished."),
		clients:         desc("client_connections", "Open connections from clients."),
		clientsTotal:    desc("client_connections_total", "Connections accepted from clients."),
		received:        desc("client_received_bytes_total", "Bytes received from clients."),
		sent:            desc("client_sent_bytes_total", "Bytes sent to clients."),
		deckInFlight:    desc("deck_requests_in_flight", "Requests under way to a deck.", "deck"),
		deckAddresses:   desc("deck_addresses", "Addresses of a deck in use.", "deck"),
		ejected:         desc("deck_ejected_addresses", "Addresses of a deck that are taken out of use for a while.", "deck"),
		ejections:       desc("deck_ejections_total", "Times that an address of a deck was taken out of use for a while.", "deck"),
		connectFailures: desc("upstream_connect_failures_total", "Connections to a deck that could not be made.", "deck"),
		retries:         desc("retries_total", "Requests that were sent to a deck once more.", "deck"),
		retriesRefused:  desc("retries_refused_total", "Requests that were not sent once more because too many others were.", "deck"),
		tunnels:         desc("tunnels", "Open tunnels: connections that were upgraded to another protocol, such as WebSocket."),
		clientsRefused:  desc("client_connections_refused_total", "Connections from clients that ended before a request could, by the reason.", "reason"),
		clientTimeouts:  desc("client_timeouts_total", "Clients given up because they took too long, by what was waited for.", "wait"),
		evictions:       desc("client_evictions_total", "Connections whose client was waited for, closed to make room for another one.", "because"),
		acceptPauses:    desc("accept_pauses_total", "Times that no connection was accepted for a moment because as many as allowed were open."),
		upstreams:       desc("upstream_connections", "Open connections to a deck, by state.", "deck", "state"),
		opened:          desc("upstream_connections_opened_total", "Connections made to a deck.", "deck"),
		reused:          desc("upstream_connections_reused_total", "Requests that were sent on a connection made before.", "deck"),
		closed:          desc("upstream_connections_closed_total", "Connections to a deck closed, by the reason.", "deck", "reason"),
		revision:        desc("table_revision", "Revision of the table in force."),
		age:             desc("table_age_seconds", "Time since the table in force was published."),
		problems:        desc("table_problems", "Problems of the documents of the table in force."),
		tenants:         desc("table_tenants", "Tenants of the table in force."),
		hosts:           desc("table_hosts", "Hosts of the table in force."),
		decks:           desc("table_decks", "Decks of the table in force."),
		pins:            desc("table_pins", "Pins of the table in force."),
		publishes:       desc("table_publishes_total", "Tables published."),
		kept:            desc("tables_kept", "Tables kept to explain by: the one in force, and those before it."),
		ready:           desc("ready", "1 while the router is ready, else 0."),
		draining:        desc("draining", "1 from the beginning of draining, else 0."),
		acceptErrors:    desc("accept_errors_total", "Failures to accept a connection, such as no free descriptors."),
		logLines:        desc("access_log_lines_total", "Lines written to the access log."),
		logDropped:      desc("access_log_dropped_total", "Lines of the access log that were lost, by the reason: too many waited to be written, or writing failed.", "reason"),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		c.requests, c.faults, c.duration, c.deckDuration, c.deckFailures, c.inFlight, c.clients, c.clientsTotal, c.received, c.sent,
		c.deckInFlight, c.deckAddresses, c.ejected, c.ejections, c.connectFailures,
		c.retries, c.retriesRefused, c.tunnels, c.clientsRefused, c.clientTimeouts, c.acceptPauses, c.evictions,
		c.upstreams, c.opened, c.reused, c.closed,
		c.revision, c.age, c.problems, c.tenants, c.hosts, c.decks, c.pins, c.publishes, c.kept,
		c.ready, c.draining, c.acceptErrors, c.logLines, c.logDropped,
	} {
		out <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.collectRequests(out)
	c.collectDecks(out)
	c.collectTable(out)
	r := c.router
	open, total := r.clients.count()
	gauge(out, c.clients, float64(open))
	count(out, c.clientsTotal, total)
	gauge(out, c.ready, oneIf(r.Ready() == nil))
	gauge(out, c.draining, oneIf(r.drain.closing()))
	count(out, c.acceptErrors, r.acceptErrors.Load())
	count(out, c.acceptPauses, r.acceptPauses.Load())
	count(out, c.evictions, r.clients.evicted.places.Load(), "all_places")
	count(out, c.evictions, r.clients.evicted.address.Load(), "address_share")
	gauge(out, c.tunnels, float64(r.tunnels.count()))
	for wait := range impatiences {
		count(out, c.clientTimeouts, r.timeouts[wait].Load(), wait.String())
	}
	for why := range rudenesses {
		count(out, c.clientsRefused, r.turned.total[why].Load(), why.String())
	}
	var lines, slow, failed uint64
	if log := r.cfg.AccessLog; log != nil {
		lines, slow, failed = log.Counts()
	}
	count(out, c.logLines, lines)
	count(out, c.logDropped, slow, "slow")
	count(out, c.logDropped, failed, "failed")
}

func (c *collector) collectRequests(out chan<- prometheus.Metric) {
	r := c.router
	var received, sent uint64
	var classes [statusClasses]uint64
	var took histogram
	faults := make([]uint64, len(r.faults.kinds))
	for i := range r.counters.lanes {
		l := &r.counters.lanes[i]
		received, sent = received+l.received.Load(), sent+l.sent.Load()
		took.add(&l.latencies)
		for k := range classes {
			classes[k] += l.classes[k].Load()
		}
		for k := range faults {
			faults[k] += l.faults[k].Load()
		}
	}
	gauge(out, c.inFlight, float64(r.counters.inFlight()))
	count(out, c.received, received)
	count(out, c.sent, sent)
	collectClasses(out, c.requests, "", &classes)
	for k, n := range faults {
		count(out, c.faults, n, string(r.faults.kinds[k].code))
	}
	took.show(out, c.duration)
}

// histogram is the sum of the latencies of several lanes.
type histogram struct {
	buckets [len(bounds) + 1]uint64
	spent   int64
}

func (h *histogram) add(l *latencies) {
	for k := range h.buckets {
		h.buckets[k] += l.buckets[k].Load()
	}
	h.spent += l.spent.Load()
}

func (h *histogram) show(out chan<- prometheus.Metric, desc *prometheus.Desc, labels ...string) {
	cumulative, total := map[float64]uint64{}, uint64(0)
	for k, bound := range bounds {
		total += h.buckets[k]
		cumulative[bound.Seconds()] = total
	}
	total += h.buckets[len(bounds)]
	out <- prometheus.MustNewConstHistogram(desc, total, time.Duration(h.spent).Seconds(), cumulative, labels...)
}

// collectClasses shows the classes, from the start: the first of a kind would go unseen where
// a series begins with it. 1xx is never final.
func collectClasses(out chan<- prometheus.Metric, desc *prometheus.Desc, deck string, classes *[statusClasses]uint64) {
	for k, n := range classes {
		if classNames[k] != "1xx" || n > 0 {
			count(out, desc, n, deck, classNames[k])
		}
	}
}

func (c *collector) collectDecks(out chan<- prometheus.Metric) {
	now := c.router.published.Load()
	if now == nil {
		return
	}
	for _, view := range now.decks {
		if view == nil {
			continue
		}
		live, name := view.live, view.compiled.Name
		var classes [statusClasses]uint64
		var took histogram
		for i := range live.counters.lanes {
			took.add(&live.counters.lanes[i].latencies)
			for k := range classes {
				classes[k] += live.counters.lanes[i].classes[k].Load()
			}
		}
		collectClasses(out, c.requests, name, &classes)
		open, idle, ejected := int64(0), int64(0), 0
		for _, e := range view.endpoints {
			open, idle = open+e.connections.Load(), idle+e.pool.idle.Load()
			if e.ejected() {
				ejected++
			}
		}
		gauge(out, c.deckInFlight, float64(live.inFlight.Load()), name)
		gauge(out, c.deckAddresses, float64(len(view.endpoints)), name)
		gauge(out, c.ejected, float64(ejected), name)
		took.show(out, c.deckDuration, name)
		for cause := noFailure + 1; cause < failureCauses; cause++ {
			count(out, c.deckFailures, live.counters.failures[cause].Load(), name, cause.String())
		}
		count(out, c.ejections, live.counters.ejections.Load(), name)
		count(out, c.retries, live.counters.retries.Load(), name)
		count(out, c.retriesRefused, live.counters.retriesRefused.Load(), name)
		count(out, c.connectFailures, live.counters.connectFailures.Load(), name)
		gauge(out, c.upstreams, float64(max(0, open-idle)), name, "busy")
		gauge(out, c.upstreams, float64(idle), name, "idle")
		count(out, c.opened, live.counters.opened.Load(), name)
		count(out, c.reused, live.counters.reused.Load(), name)
		for why := range closeReasons {
			count(out, c.closed, live.counters.closed[why].Load(), name, why.String())
		}
	}
}

func (c *collector) collectTable(out chan<- prometheus.Metric) {
	count(out, c.publishes, c.router.counters.publishes.Load())
	gauge(out, c.kept, float64(c.router.recent.count()))
	now := c.router.published.Load()
	if now == nil {
		return
	}
	counts := now.table.Counts()
	gauge(out, c.revision, float64(now.table.Revision()))
	gauge(out, c.age, time.Since(now.at).Seconds())
	gauge(out, c.problems, float64(counts.Problems))
	gauge(out, c.tenants, float64(counts.Tenants))
	gauge(out, c.hosts, float64(counts.Hosts))
	gauge(out, c.decks, float64(counts.Decks))
	gauge(out, c.pins, float64(counts.Pins))
}

func gauge(out chan<- prometheus.Metric, desc *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func count(out chan<- prometheus.Metric, desc *prometheus.Desc, value uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
