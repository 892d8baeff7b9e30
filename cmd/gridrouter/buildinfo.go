package main

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"

	"gridrouter.io/cmd/flags"
)

// newBuildInfo returns the metric that says which build this is. It is always 1.
func newBuildInfo() prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gridrouter_build_info", Help: "Always 1; its labels say which build this is: version, version of Go, and revision of the source.",
		ConstLabels: prometheus.Labels{"version": flags.BuildVersion(version), "goversion": runtime.Version(), "revision": sourceRevision()},
	})
	info.Set(1)
	return info
}

// sourceRevision is the commit that was built, with "+dirty" where files had changed since;
// empty: the build does not know.
func sourceRevision() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, dirty := "", ""
	for _, setting := range build.Settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "+dirty"
		}
	}
	return revision + dirty
}
