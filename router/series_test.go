package router

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gridrouter.io/router/faults"
	"gridrouter.io/router/metrics"
	"gridrouter.io/router/upstream"
)

// TestSeriesAreThereFromTheStart counts the series before anything has happened.
func TestSeriesAreThereFromTheStart(t *testing.T) {
	g := newGrid(t, nil)
	g.put(deckAt("d1", "127.0.0.1:1"), deckAt("d2", "127.0.0.1:1"), tenantOn("acme", "d1", "acme.test"))
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(g.router))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, family := range families {
		got[family.GetName()] = len(family.GetMetric())
		for _, m := range family.GetMetric() {
			if m.GetCounter().GetValue() != 0 && family.GetName() != "gridrouter_table_publishes_total" {
				t.Errorf("%s is %v", family.GetName(), m)
			}
		}
	}
	const decks = 2
	for name, want := range map[string]int{
		"gridrouter_requests_total":                    (decks + 1) * (metrics.StatusClasses - 1), // no 1xx
		"gridrouter_faults_total":                      len(faults.All()),
		"gridrouter_upstream_connections_closed_total": decks * int(upstream.CloseReasons),
		"gridrouter_upstream_connections_opened_total": decks,
		"gridrouter_upstream_connections":              decks * 2,
		"gridrouter_client_connections_refused_total":  int(refusalReasons),
		"gridrouter_client_timeouts_total":             int(clientWaits),
		"gridrouter_access_log_dropped_total":          2,
		"gridrouter_retries_total":                     decks,
	} {
		if got[name] != want {
			t.Errorf("%s has %d series, want %d", name, got[name], want)
		}
	}
}
