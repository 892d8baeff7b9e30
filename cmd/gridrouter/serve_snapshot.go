package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/routing/compile"
)

// snapshotEvery is how often a snapshot is written at most, while documents change.
const snapshotEvery = 5 * time.Second

// snapshotOff is the value of --snapshot that wants none.
const snapshotOff = "off"

// snapshots keeps the local last-good snapshot: read before anything else, written while
// documents change and at the end. Without a path it does nothing.
type snapshots struct {
	path, of string
	who      string // who starts from it: "the router"
	by       string // that one's name
	format   uint32 // of the content
	log      *zap.Logger

	written  string // identity of what was written or read last
	failing  bool   // the last attempt failed
	restored atomic.Pointer[discovery.SnapshotHeader]

	writes, failures, damaged prometheus.Counter
	bytes, at                 prometheus.Gauge
}

// saved is what there is to write into a snapshot.
type saved struct {
	header   discovery.SnapshotHeader // but for who wrote it, and when, and of which source
	sections func() ([]discovery.SnapshotSection, error)
}

// identityOf tells whether the same was written before.
func identityOf(h *discovery.SnapshotHeader) string {
	return fmt.Sprint(h.Hash, h.EffectiveHash, h.Partial)
}

// newSnapshots makes and registers the metrics of a process's snapshot.
func newSnapshots(s *snapshots, registry prometheus.Registerer) *snapshots {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gridrouter_snapshot_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "gridrouter_snapshot_" + name, Help: help})
	}
	s.writes = counter("writes_total", "Snapshots that were written.")
	s.failures = counter("failures_total", "Snapshots that could not be written.")
	s.damaged = counter("refused_total", "Snapshots that were found at the start and were of no use: damaged, of another source, or of another format.")
	s.bytes = gauge("bytes", "Size of the snapshot that was written or read last, in bytes.")
	s.at = gauge("written_timestamp_seconds", "When the documents of the last snapshot were written down, in seconds since 1970.")
	registry.MustRegister(s.writes, s.failures, s.damaged, s.bytes, s.at)
	return s
}

// checkSnapshotPath refuses a place that the next snapshot would take, were it even a device.
func checkSnapshotPath(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return flags.Usagef("--snapshot: %s is not a regular file; name another file, or off", path)
	}
	return nil
}

// snapshotPath returns where the snapshot of a process is, whose name is id; empty: nowhere. Without the flag
// it is in the state folder: $STATE_DIRECTORY, the first of those if systemd names several, else
// $XDG_STATE_HOME, else /var/lib.
func snapshotPath(flag, id string) string {
	switch flag {
	case snapshotOff:
		return ""
	case "":
	default:
		return flag
	}
	first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	for _, dir := range []string{first, os.Getenv("XDG_STATE_HOME")} {
		if dir != "" {
			return filepath.Join(dir, "gridrouter", id+".snap")
		}
	}
	return filepath.Join("/var/lib", "gridrouter", id+".snap")
}

// restore gives the content of the newest snapshot to use, and says whether there was one that
// is of use. A use that returns an error has done nothing.
func (s *snapshots) restore(use func(discovery.SnapshotHeader, []discovery.SnapshotSection) error) bool {
	if s.path == "" {
		return false
	}
	for _, path := range []string{s.path, discovery.PreviousSnapshot(s.path)} {
		header, size, err := s.read(path, use)
		switch {
		case err == nil:
			s.restored.Store(&header)
			s.written = identityOf(&header)
			s.at.Set(float64(header.Written.Unix()))
			s.bytes.Set(float64(size))
			s.log.Info(s.who+" starts from its snapshot", zap.String("file", path), zap.Int64("revision", header.Revision),
				zap.Time("written", header.Written), zap.Int("tenants", header.Tenants), zap.Int("pins", header.Pins), zap.Int("names", header.Names))
			return true
		case errors.Is(err, fs.ErrNotExist):
		default:
			s.damaged.Inc()
			s.log.Error("A SNAPSHOT IS OF NO USE and is ignored; the next one takes its place", zap.String("file", path), zap.Error(err))
		}
	}
	return false
}

func (s *snapshots) read(path string, use func(discovery.SnapshotHeader, []discovery.SnapshotSection) error) (header discovery.SnapshotHeader, size int, err error) {
	header, sections, err := discovery.ReadSnapshot(path)
	if err != nil {
		return header, 0, err
	}
	if header.Of != s.of {
		return header, 0, fmt.Errorf("it is of %s, %s follows %s; give each its own file by --snapshot", header.Of, s.who, s.of)
	}
	if header.Format != s.format {
		return header, 0, fmt.Errorf("its content has format %d, %s reads %d", header.Format, s.who, s.format)
	}
	for _, section := range sections {
		size += len(section.Data)
	}
	return header, size, use(header, sections)
}

// compare marks the first list after a start from a snapshot where it may come from another source
// than the snapshot did.
func (s *snapshots) compare(batch *discovery.Batch, source discovery.Status) {
	former := s.restored.Load()
	if former == nil {
		return
	}
	if former.Cluster != "" && source.Cluster != "" && source.Cluster != former.Cluster {
		s.log.Error("ANOTHER ETCD ANSWERS than when the snapshot was written; taking over what it holds",
			zap.String("cluster", source.Cluster), zap.String("formerCluster", former.Cluster))
		batch.SourceChanged = true
	}
	if source.Kind == "etcd" && batch.Revision < former.Revision {
		s.log.Error("ETCD WAS RESTORED since the snapshot was written: its revisions went back; taking over what it holds",
			zap.Int64("revision", batch.Revision), zap.Int64("formerRevision", former.Revision))
		batch.SourceChanged = true
	}
	if source.Kind == "files" {
		batch.SourceChanged = true // a folder's revisions are counted from the start of the process
		batch.MayLookEmpty = true
	}
}

// run writes a snapshot now and then while documents change, and the last one when ctx ends.
func (s *snapshots) run(ctx context.Context, take func() *saved) error {
	if s.path == "" {
		return nil
	}
	ticker := time.NewTicker(snapshotEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.write(take)
			return nil
		case <-ticker.C:
			s.write(take)
		}
	}
}

// write writes a snapshot if the documents have changed since the last one; take returns nil
// where there is nothing to write. What fails is tried again; the first failure in a row is logged.
func (s *snapshots) write(take func() *saved) {
	now := take()
	if now == nil || identityOf(&now.header) == s.written {
		return
	}
	size, err := s.writeTo(now)
	if err != nil {
		s.failures.Inc()
		if !s.failing {
			s.log.Error("the snapshot cannot be written; without it "+s.who+" cannot start while its source is away",
				zap.String("file", s.path), zap.Error(err))
		}
		s.failing = true
		return
	}
	if s.failing {
		s.log.Info("the snapshot can be written again", zap.String("file", s.path))
	}
	s.failing, s.written = false, identityOf(&now.header)
	s.writes.Inc()
	s.bytes.Set(float64(size))
	s.at.SetToCurrentTime()
}

func (s *snapshots) writeTo(now *saved) (size int, err error) {
	sections, err := now.sections()
	if err != nil {
		return 0, err
	}
	for _, section := range sections {
		size += len(section.Data)
	}
	header := now.header
	header.Format, header.Of, header.Router = s.format, s.of, s.by
	header.Written = time.Now().UTC().Truncate(time.Second)
	return size, discovery.WriteSnapshot(s.path, header, sections)
}

// savedTable is a router's checkpoint as a snapshot holds it.
func savedTable(checkpoint *compile.Checkpoint, cluster string) *saved {
	counts := checkpoint.Counts()
	return &saved{
		header: discovery.SnapshotHeader{
			Cluster: cluster, Revision: checkpoint.Revision(), Hash: checkpoint.Hash(), EffectiveHash: checkpoint.EffectiveHash(),
			Tenants: counts.Tenants, Hosts: counts.Hosts, Decks: counts.Decks, Pins: counts.Pins,
			Partial: checkpoint.Partial(),
		},
		sections: func() ([]discovery.SnapshotSection, error) {
			sections, err := checkpoint.Sections()
			framed := make([]discovery.SnapshotSection, len(sections))
			for i, section := range sections {
				framed[i] = discovery.SnapshotSection(section)
			}
			return framed, err
		},
	}
}

// snapshotOf names the source whose snapshot a process can use.
func (s *sourceFlags) snapshotOf() (string, error) {
	if s.routes == "" {
		return "etcd prefix " + s.etcd.Prefix, nil
	}
	dir, err := filepath.Abs(s.routes)
	return "folder " + dir, err
}
