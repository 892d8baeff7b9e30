package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/router/certs"
)

// TestMetricsAreThoseOfTheirPage holds docs/METRICS.md to what the binary registers.
func TestMetricsAreThoseOfTheirPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(gridrouter_[a-z_]+)`").FindAllSubmatch(page, -1) {
		// The operator's are held to the page where they are registered.
		if name := string(row[1]); !strings.HasPrefix(name, "gridrouter_operator_") {
			listed = append(listed, name)
		}
	}
	slices.Sort(listed)
	if twice := len(listed) - len(slices.Compact(slices.Clone(listed))); twice > 0 {
		t.Errorf("%d metrics stand twice on the page", twice)
	}
	registries := newRegistries(t)
	registries[0].MustRegister(new(certs.Store).Collector()) // as with --tls-cert
	have := describedMetrics(registries, "")
	for _, name := range have {
		if !slices.Contains(listed, name) {
			t.Errorf("%s is not on the page", name)
		}
	}
	for _, name := range listed {
		if !slices.Contains(have, name) {
			t.Errorf("%s is on the page, but nobody registers it", name)
		}
	}
}

// TestCountersHaveASeriesFromTheStart looks at a process to which nothing has happened: an alert
// on the increase of a counter misses the first increase of a series that begins with it.
func TestCountersHaveASeriesFromTheStart(t *testing.T) {
	// Queries to the GSLB server come by any type and code; what is told by deck begins with the deck.
	const anyQuery = "gridrouter_gslb_queries_total"
	registries := newRegistries(t)
	var have []string
	for _, registry := range registries {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			have = append(have, family.GetName())
		}
	}
	for _, name := range describedMetrics(registries, "[a-z]") {
		byDeck := slices.Contains(describedMetrics(registries, "deck"), name)
		if !slices.Contains(have, name) && !byDeck && name != anyQuery {
			t.Errorf("%s has no series before its first event", name)
		}
	}
}

// newRegistries returns what serve and gslb register, each in its own, before they have begun.
func newRegistries(t *testing.T) []*prometheus.Registry {
	t.Helper()
	f := &serveFlags{listen: []string{"127.0.0.1:0"}, proxyProtocol: "off", routerID: "r", logLevel: "error", accessLog: "off", accessLogSample: 1}
	f.source.etcd.Endpoints = []string{"http://127.0.0.1:1"}
	f.source.etcd.Prefix = "/gridrouter/"
	s, err := newService(f, func(context.Context) (string, error) { return "info", nil }, &signals{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	discovery.NewAnnouncer(discovery.AnnouncerConfig{Logger: zap.NewNop(), Registerer: s.registry})
	names := prometheus.NewRegistry()
	server, err := gslb.NewServer(gslb.ServerConfig{Addr: "127.0.0.1:0", Registerer: names})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	newGslbNames(catalog.NewReader().Decode, gslb.ZoneConfig{}, "etcd", server.SetZone, zap.NewNop(), names)
	newSnapshots(&snapshots{}, names)
	return []*prometheus.Registry{s.registry, names}
}

// describedMetrics lists the names of our own metrics whose variable labels begin so.
func describedMetrics(registries []*prometheus.Registry, labels string) []string {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		for _, registry := range registries {
			registry.Describe(descs)
		}
	}()
	var names []string
	ours := regexp.MustCompile(`fqName: "(gridrouter_[a-z_]+)".*variableLabels: \{` + labels)
	for desc := range descs {
		if name := ours.FindStringSubmatch(desc.String()); name != nil && !slices.Contains(names, name[1]) {
			names = append(names, name[1])
		}
	}
	slices.Sort(names)
	return names
}
