package discovery

import "github.com/prometheus/client_golang/prometheus"

// cacheMetrics are the counters of a [ReadCache].
type cacheMetrics struct {
	hits, negative, misses, failed, refused prometheus.Counter // one of them, or misses and failed, for each question
	reads, evictions, invalidated           prometheus.Counter
}

// newCacheMetrics makes the counters and registers them on registerer, which may be nil.
func newCacheMetrics(name string, registerer prometheus.Registerer, size func() (entries, reads int)) *cacheMetrics {
	prefix := "gridrouter_" + name + "_cache_"
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
	}
	m := &cacheMetrics{
		hits:        counter("hits_total", "Questions for a key that was remembered with its value."),
		negative:    counter("negative_hits_total", "Questions for a key that was remembered to be absent."),
		misses:      counter("misses_total", "Questions that waited for a read of etcd."),
		failed:      counter("errors_total", "Questions whose key could not be read, or not in time."),
		refused:     counter("refused_total", "Questions for which no read was begun, because as many as are allowed were under way."),
		reads:       counter("reads_total", "Reads of single keys begun."),
		evictions:   counter("evictions_total", "Keys forgotten to make room for others."),
		invalidated: counter("invalidations_total", "Keys forgotten because they changed, or may have."),
	}
	if registerer == nil {
		return m
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + name, Help: help}, func() float64 { return float64(value()) })
	}
	registerer.MustRegister(m.hits, m.negative, m.misses, m.failed, m.refused, m.reads, m.evictions, m.invalidated,
		gauge("entries", "Keys remembered, those that are absent included.",
			func() int { entries, _ := size(); return entries }),
		gauge("reads_in_flight", "Reads of single keys under way.",
			func() int { _, reads := size(); return reads }))
	return m
}
