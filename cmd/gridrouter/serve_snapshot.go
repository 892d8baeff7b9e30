package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/routing"
)

// snapshotEvery is how often a snapshot is written at most, while documents change.
const snapshotEvery = 5 * time.Second

// snapshotOff is the value of --snapshot that wants none.
const snapshotOff = "off"

// snapshots keeps the local last-good snapshot: read before anything else, written while
// documents change and at the end. Without a path it does nothing.
type snapshots struct {
	path, of, router string
	log              *zap.Logger

	written  string // hashes of the table that was written or read last
	failing  bool   // the last attempt failed
	restored atomic.Pointer[discovery.SnapshotHeader]

	writes, failures, damaged prometheus.Counter
	bytes, at                 prometheus.Gauge
}

func newSnapshots(path, of, id string, log *zap.Logger, registry prometheus.Registerer) *snapshots {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gridrouter_snapshot_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "gridrouter_snapshot_" + name, Help: help})
	}
	s := &snapshots{
		path: path, of: of, router: id, log: log,
		writes:   counter("writes_total", "Snapshots that were written."),
		failures: counter("failures_total", "Snapshots that could not be written."),
		damaged:  counter("refused_total", "Snapshots that were found at the start and were of no use: damaged, of another source, or of another format."),
		bytes:    gauge("bytes", "Size of the snapshot that was written or read last, in bytes."),
		at:       gauge("written_timestamp_seconds", "When the documents of the last snapshot were written down, in seconds since 1970."),
	}
	registry.MustRegister(s.writes, s.failures, s.damaged, s.bytes, s.at)
	return s
}

// snapshotPath returns where the snapshot of a router is; empty: nowhere. Without the flag
// it is in the state folder: $STATE_DIRECTORY, else $XDG_STATE_HOME, else /var/lib.
func snapshotPath(flag, id string) string {
	switch flag {
	case snapshotOff:
		return ""
	case "":
	default:
		return flag
	}
	for _, dir := range []string{os.Getenv("STATE_DIRECTORY"), os.Getenv("XDG_STATE_HOME")} {
		if dir != "" {
			return filepath.Join(dir, "gridrouter", id+".snap")
		}
	}
	return filepath.Join("/var/lib", "gridrouter", id+".snap")
}

// restore returns the compiler and the table of the newest snapshot that is of use; nil:
// there is none. make makes a new compiler.
func (s *snapshots) restore(newCompiler func() *routing.Compiler) (*routing.Compiler, *routing.Table) {
	if s.path == "" {
		return nil, nil
	}
	for _, path := range []string{s.path, discovery.PreviousSnapshot(s.path)} {
		compiler := newCompiler()
		header, table, size, err := s.read(path, compiler)
		switch {
		case err == nil:
			s.restored.Store(&header)
			s.written = hashesOf(table)
			s.at.Set(float64(header.Written.Unix()))
			s.bytes.Set(float64(size))
			s.log.Info("the router starts from its snapshot", zap.String("file", path), zap.Int64("revision", header.Revision),
				zap.Time("written", header.Written), zap.Int("tenants", header.Tenants), zap.Int("pins", header.Pins))
			return compiler, table
		case errors.Is(err, fs.ErrNotExist):
		default:
			s.damaged.Inc()
			s.log.Error("A SNAPSHOT IS OF NO USE and is ignored; the next one takes its place", zap.String("file", path), zap.Error(err))
		}
	}
	return nil, nil
}

func (s *snapshots) read(path string, compiler *routing.Compiler) (header discovery.SnapshotHeader, table *routing.Table, size int, err error) {
	header, framed, err := discovery.ReadSnapshot(path)
	if err != nil {
		return header, nil, 0, err
	}
	if header.Format != routing.SnapshotFormat {
		return header, nil, 0, fmt.Errorf("its content has format %d, this router reads %d", header.Format, routing.SnapshotFormat)
	}
	if header.Of != s.of {
		return header, nil, 0, fmt.Errorf("it is of %s, this router follows %s; give each its own file by --snapshot", header.Of, s.of)
	}
	sections := make([]routing.Section, len(framed))
	for i, section := range framed {
		sections[i] = routing.Section(section)
		size += len(section.Data)
	}
	table, err = compiler.Restore(sections)
	return header, table, size, err
}

func hashesOf(table *routing.Table) string {
	return table.Hash() + table.EffectiveHash()
}

// run writes a snapshot now and then while documents change, and the last one when ctx ends.
func (s *snapshots) run(ctx context.Context, take func() (*routing.Checkpoint, string)) error {
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

// write writes a snapshot if the documents have changed since the last one. What fails is
// tried again; the first failure in a row is logged.
func (s *snapshots) write(take func() (*routing.Checkpoint, string)) {
	checkpoint, cluster := take()
	if checkpoint == nil || checkpoint.Hash()+checkpoint.EffectiveHash() == s.written {
		return
	}
	size, err := s.writeTo(checkpoint, cluster)
	if err != nil {
		s.failures.Inc()
		if !s.failing {
			s.log.Error("the snapshot cannot be written; without it this router cannot start while its source is away",
				zap.String("file", s.path), zap.Error(err))
		}
		s.failing = true
		return
	}
	if s.failing {
		s.log.Info("the snapshot can be written again", zap.String("file", s.path))
	}
	s.failing, s.written = false, checkpoint.Hash()+checkpoint.EffectiveHash()
	s.writes.Inc()
	s.bytes.Set(float64(size))
	s.at.SetToCurrentTime()
}

func (s *snapshots) writeTo(checkpoint *routing.Checkpoint, cluster string) (size int, err error) {
	sections, err := checkpoint.Sections()
	if err != nil {
		return 0, err
	}
	framed := make([]discovery.SnapshotSection, len(sections))
	for i, section := range sections {
		framed[i] = discovery.SnapshotSection(section)
		size += len(section.Data)
	}
	counts := checkpoint.Counts()
	return size, discovery.WriteSnapshot(s.path, discovery.SnapshotHeader{
		Format: routing.SnapshotFormat, Of: s.of, Cluster: cluster, Revision: checkpoint.Revision(),
		Hash: checkpoint.Hash(), EffectiveHash: checkpoint.EffectiveHash(),
		Tenants: counts.Tenants, Hosts: counts.Hosts, Decks: counts.Decks, Pins: counts.Pins,
		Written: time.Now().UTC().Truncate(time.Second), Router: s.router,
	}, framed)
}

// snapshotOf names the source whose snapshot a router can use.
func (f *serveFlags) snapshotOf() (string, error) {
	if f.source.routes == "" {
		return "etcd prefix " + f.source.etcd.Prefix, nil
	}
	dir, err := filepath.Abs(f.source.routes)
	return "folder " + dir, err
}
