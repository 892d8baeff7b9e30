package gslb

import (
	"errors"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// outcomes are the values of the label of that name. Each has a series from the start: an alert on
// the increase of a counter misses the first increase of a series that begins with it.
var outcomes = []string{"answered", "empty", "nxdomain", "servfail", "refused", "timeout", "network", "protocol"}

// resolverMetrics are the collectors of one Resolver, told apart by the constant label "resolver".
type resolverMetrics struct {
	queries *prometheus.CounterVec // by outcome
	latency prometheus.Histogram
	ignored prometheus.Counter
	kept    prometheus.Counter
	names   prometheus.GaugeFunc
	stale   prometheus.GaugeFunc
}

func newResolverMetrics(name string, r *Resolver) *resolverMetrics {
	label := prometheus.Labels{"resolver": name}
	m := &resolverMetrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridrouter_dns_queries_total", ConstLabels: label,
			Help: "Questions put to DNS servers, by outcome: " + strings.Join(outcomes, ", ") + ".",
		}, []string{"outcome"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gridrouter_dns_query_duration_seconds", ConstLabels: label,
			Help:    "Time from a question to its answer, or to giving it up.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		}),
		ignored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridrouter_dns_ignored_packets_total", ConstLabels: label,
			Help: "Packets that were not the answer to the question asked: late, misdirected, damaged or forged.",
		}),
		kept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridrouter_dns_kept_answers_total", ConstLabels: label,
			Help: "Resolutions that failed while addresses from an earlier one were kept in use.",
		}),
		names: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gridrouter_dns_names", ConstLabels: label,
			Help: "Names that are kept resolved.",
		}, func() float64 { return float64(len(*r.names.Load())) }),
		stale: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gridrouter_dns_stale_names", ConstLabels: label,
			Help: "Names with addresses in use beyond the end of their TTL.",
		}, func() float64 { return float64(r.staleNames()) }),
	}
	for _, outcome := range outcomes {
		m.queries.WithLabelValues(outcome)
	}
	return m
}

// register puts the collectors on reg: all, or none and an error.
func (m *resolverMetrics) register(reg prometheus.Registerer) error {
	return registerAll(reg, m.queries, m.latency, m.ignored, m.kept, m.names, m.stale)
}

// queried counts one question to one server. m is nil when err is not.
func (m *resolverMetrics) queried(err error, answer *dns.Msg, took time.Duration) {
	m.latency.Observe(took.Seconds())
	m.queries.WithLabelValues(outcomeOf(err, answer)).Inc()
}

func outcomeOf(err error, answer *dns.Msg) string {
	switch {
	case err == nil && answer.Rcode == dns.RcodeNameError:
		return "nxdomain"
	case err == nil && len(answer.Answer) == 0:
		return "empty"
	case err == nil:
		return "answered"
	case errors.Is(err, errTimeout):
		return "timeout"
	case errors.Is(err, errServfail):
		return "servfail"
	case errors.Is(err, errRefused):
		return "refused"
	case errors.Is(err, errNetwork):
		return "network"
	}
	return "protocol"
}

// registerAll registers all collectors or none. A nil registerer registers nothing.
func registerAll(reg prometheus.Registerer, collectors ...prometheus.Collector) error {
	if reg == nil {
		return nil
	}
	for i, c := range collectors {
		if err := reg.Register(c); err != nil {
			for _, done := range collectors[:i] {
				reg.Unregister(done)
			}
			return err
		}
	}
	return nil
}

// serverMetrics are the collectors of a Server. No label comes from a query as it is: types and codes that are not common are "other".
type serverMetrics struct {
	queries   *prometheus.CounterVec // by transport, type and code
	limited   *prometheus.CounterVec // by action
	malformed prometheus.Counter
	refused   prometheus.Counter
	names     prometheus.GaugeFunc
}

func newServerMetrics(s *Server) *serverMetrics {
	m := &serverMetrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridrouter_gslb_queries_total",
			Help: "DNS queries answered, by transport (udp, tcp; unknown if rejected by the header alone), type and response code.",
		}, []string{"transport", "qtype", "rcode"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridrouter_gslb_rate_limited_total",
			Help: "Answers over the rate of their source prefix, by action: dropped, or sent truncated.",
		}, []string{"action"}),
		malformed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridrouter_gslb_malformed_packets_total",
			Help: "Packets that are no DNS message.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridrouter_gslb_refused_connections_total",
			Help: "TCP connections closed at once because too many were open, in all or from one address.",
		}),
		names: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gridrouter_gslb_names",
			Help: "Names that the server has addresses for.",
		}, func() float64 {
			if z := s.zone.Load(); z != nil {
				return float64(z.Names())
			}
			return 0
		}),
	}
	m.limited.WithLabelValues("dropped")
	m.limited.WithLabelValues("truncated")
	return m
}

func (m *serverMetrics) register(reg prometheus.Registerer) error {
	return registerAll(reg, m.queries, m.limited, m.malformed, m.refused, m.names)
}

// answered counts one query and its answer.
func (m *serverMetrics) answered(overUDP bool, q, answer *dns.Msg) {
	transport := "tcp"
	if overUDP {
		transport = "udp"
	}
	m.queries.WithLabelValues(transport, qtypeLabel(q), rcodeLabel(answer.Rcode)).Inc()
}

func qtypeLabel(q *dns.Msg) string {
	if len(q.Question) == 1 {
		switch qtype := q.Question[0].Qtype; qtype {
		case dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeNS, dns.TypeSOA:
			return dns.TypeToString[qtype]
		}
	}
	return "other"
}

func rcodeLabel(rcode int) string {
	switch rcode {
	case dns.RcodeSuccess, dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNameError, dns.RcodeNotImplemented, dns.RcodeRefused:
		return dns.RcodeToString[rcode]
	}
	return "other"
}
