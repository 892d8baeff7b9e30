package main

import (
	"context"
	"os"
	"regexp"
	"slices"
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
		listed = append(listed, string(row[1]))
	}
	slices.Sort(listed)
	if twice := len(listed) - len(slices.Compact(slices.Clone(listed))); twice > 0 {
		t.Errorf("%d metrics stand twice on the page", twice)
	}
	have := registeredMetrics(t)
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

// registeredMetrics lists the names of our own metrics that serve and gslb register.
func registeredMetrics(t *testing.T) []string {
	t.Helper()
	f := &serveFlags{listen: []string{"127.0.0.1:0"}, proxyProtocol: "off", routerID: "r", logLevel: "error", accessLog: "off", accessLogSample: 1}
	f.source.etcd.Endpoints = []string{"http://127.0.0.1:1"}
	f.source.etcd.Prefix = "/gridrouter/"
	s, err := newService(f, func(context.Context) (string, error) { return "info", nil }, &signals{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.registry.MustRegister(new(certs.Store).Collector())
	discovery.NewAnnouncer(discovery.AnnouncerConfig{Logger: zap.NewNop(), Registerer: s.registry})
	server, err := gslb.NewServer(gslb.ServerConfig{Addr: "127.0.0.1:0", Registerer: s.registry})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	newGslbNames(catalog.NewReader().Decode, gslb.ZoneConfig{}, zap.NewNop(), s.registry)
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		s.registry.Describe(descs)
	}()
	var names []string
	ours := regexp.MustCompile(`fqName: "(gridrouter_[a-z_]+)"`)
	for desc := range descs {
		if name := ours.FindStringSubmatch(desc.String()); name != nil && !slices.Contains(names, name[1]) {
			names = append(names, name[1])
		}
	}
	slices.Sort(names)
	return names
}
