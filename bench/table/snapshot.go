package table

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gridrouter.io/discovery"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// snapshot measures the start of a router that finds its snapshot.
func (b *bench) snapshot(context.Context) (err error) {
	if err := b.holdTenants(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.Dir, "snapshot")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "table.snap")
	if err := b.writeSnapshot(b.held, file); err != nil {
		return err
	}
	b.afresh()
	var t *routing.Table
	took, err := b.timed("start-from-snapshot", func() error {
		var err error
		if t, err = b.restore(file); err != nil {
			return err
		}
		return newAsker().check(t, b.Tenants/2)
	})
	if err != nil {
		return err
	}
	b.judgeFull("first right answer, from the snapshot", "s", took.Seconds(), 1, 0.25)
	b.report.note("start from the snapshot: from opening the file to the first right answer, with no memory kept from before; the file was just written, so it" +
		" comes from the page cache and not from the disk. The start of the process itself is not in it")
	if err := complete(t, b.Tenants, 0); err != nil {
		return err
	}
	return checkAll(t, b.Tenants)
}

// writeSnapshot writes what a compiler holds, as gridrouter does.
func (b *bench) writeSnapshot(h *holding, file string) error {
	var checkpointed time.Duration
	took, err := b.timed("write-snapshot", func() error {
		begun := time.Now()
		checkpoint := h.compiler.Checkpoint()
		checkpointed = time.Since(begun)
		parts, err := checkpoint.Sections()
		if err != nil {
			return err
		}
		sections := make([]discovery.SnapshotSection, 0, len(parts))
		for _, part := range parts {
			sections = append(sections, discovery.SnapshotSection(part))
		}
		return discovery.WriteSnapshot(file, discovery.SnapshotHeader{
			Format: compile.SnapshotFormat, Revision: checkpoint.Revision(), Hash: checkpoint.Hash(), Written: time.Now().UTC(), Router: "bench",
		}, sections)
	})
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	b.report.inform("updates wait for a checkpoint", "us", micros(checkpointed))
	b.report.inform("snapshot made and written", "s", took.Seconds())
	b.report.inform("snapshot file", "MB", float64(info.Size())/1e6)
	return nil
}

// restore reads a snapshot into a new compiler.
func (b *bench) restore(file string) (*routing.Table, error) {
	header, parts, err := discovery.ReadSnapshot(file)
	if err != nil {
		return nil, err
	}
	if header.Format != compile.SnapshotFormat {
		return nil, fmt.Errorf("the snapshot has format %d, not %d", header.Format, compile.SnapshotFormat)
	}
	sections := make([]compile.Section, 0, len(parts))
	for _, part := range parts {
		sections = append(sections, compile.Section(part))
	}
	return b.newCompiler().Restore(sections)
}
