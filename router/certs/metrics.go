package certs

import "github.com/prometheus/client_golang/prometheus"

// collector shows the store to Prometheus.
type collector struct {
	store                               *Store
	expiry, reloads, failures, problems *prometheus.Desc
}

// Collector returns the store's metrics, for a registry. Its labels are names of files.
func (s *Store) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gridrouter_tls_"+name, help, labels, nil)
	}
	return &collector{
		store:    s,
		expiry:   desc("certificate_expiry_timestamp_seconds", "When a certificate in force ends, in seconds of Unix time.", "name"),
		reloads:  desc("certificate_reloads_total", "Times that other certificates came into force, the first time included."),
		failures: desc("certificate_failures_total", "Times that a pair of certificate and key was found to be of no use."),
		problems: desc("certificate_problems", "Pairs that are of no use at the moment; their last good form serves on."),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.expiry, c.reloads, c.failures, c.problems} {
		out <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for name, p := range c.store.current.Load().pairs {
		out <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, float64(p.expiry().Unix()), name)
	}
	out <- prometheus.MustNewConstMetric(c.reloads, prometheus.CounterValue, float64(c.store.reloads.Load()))
	out <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(c.store.failures.Load()))
	out <- prometheus.MustNewConstMetric(c.problems, prometheus.GaugeValue, float64(len(c.store.Problems())))
}
