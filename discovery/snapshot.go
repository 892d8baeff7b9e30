package discovery

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"

	"gridrouter.io/discovery/files"
)

// A snapshot is a file that holds what a router knew last, for a start without its source.
// It is framed here; what the sections hold is opaque:
//
//	magic "GRIDSNAP" | frame version uint32 | header length uint32 | header, JSON
//	sum of all before, uint64
//	for each section, in the header's order: its bytes | their sum, uint64
//
// Numbers are little-endian, sums are XXH64. Every byte is under a sum, and the file ends
// where its header says, so that a flipped bit and a file cut short are found wherever they
// are. The sums find accidents, not forgeries: the file is for its owner alone (0600).
const (
	snapshotMagic   = "GRIDSNAP"
	snapshotVersion = 1

	// maxSnapshotBytes bounds what is read: 8 GiB.
	maxSnapshotBytes = 8 << 30
	// maxSnapshotHeader bounds the header: 1 MiB.
	maxSnapshotHeader = 1 << 20
)

// SnapshotHeader says what a snapshot is of.
type SnapshotHeader struct {
	// Format is the version of the sections' content.
	Format uint32 `json:"format"`
	// Of names the source: another source's snapshot is of no use.
	Of string `json:"of"`
	// Cluster is the etcd cluster's ID, in hexadecimal digits; empty elsewhere.
	Cluster string `json:"cluster,omitempty"`
	// Revision and Hash are those of the table.
	Revision int64  `json:"revision"`
	Hash     string `json:"hash"`
	// EffectiveHash is that of what was in force.
	EffectiveHash string `json:"effectiveHash"`
	// Tenants, Hosts, Decks and Pins count what a router's table holds.
	Tenants int `json:"tenants"`
	Hosts   int `json:"hosts"`
	Decks   int `json:"decks"`
	Pins    int `json:"pins"`
	// Names counts the names of a GSLB server's snapshot.
	Names int `json:"names,omitempty"`
	// HeldAfter is the revision after which a mass change began that a router's guard holds; 0: it
	// holds none, or nobody knows.
	HeldAfter int64 `json:"heldAfter,omitempty"`
	// Partial says that a part of the source had never been read.
	Partial bool `json:"partial,omitempty"`
	// Written is when the snapshot was made, and Router by whom: a router's ID, or a GSLB server's name.
	Written time.Time `json:"written"`
	Router  string    `json:"router"`
}

// What tells a GSLB server's snapshot from a router's, and where its documents are.
const (
	// SnapshotOfNames begins what such a snapshot says that it is of.
	SnapshotOfNames = "the names of "
	// SnapshotNames is the section that holds the documents that are answered from, as a JSON array.
	SnapshotNames = "names"
)

// SnapshotSection is one part of a snapshot. Its bytes mean nothing here.
type SnapshotSection struct {
	Name string
	Data []byte
}

// framedHeader is the header as the file holds it.
type framedHeader struct {
	SnapshotHeader
	Sections []framedSection `json:"sections"`
}

type framedSection struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// ErrDamaged is in the chain of every error that says that a snapshot's bytes are not those
// that were written.
var ErrDamaged = errors.New("the snapshot is damaged")

// PreviousSnapshot is where the snapshot is kept that was at path before the newest.
func PreviousSnapshot(path string) string { return path + ".1" }

// WriteSnapshot writes a snapshot aside, syncs it, keeps the one that is at path as
// [PreviousSnapshot], and takes its place. Whenever it is cut off, one of the two is whole.
// The folder is made if it is missing. One call at a time for a path.
func WriteSnapshot(path string, header SnapshotHeader, sections []SnapshotSection) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the snapshot's folder: %w", err)
	}
	head, err := frameHeader(header, sections)
	if err != nil {
		return err
	}
	aside := path + ".new" // always the same: what a killed writer left gives way
	if err := writeSynced(aside, head, sections); err != nil {
		_ = os.Remove(aside) // a part is of no use, and the error is told
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w; make room, or name another place by --snapshot", err)
		}
		return fmt.Errorf("write the snapshot: %w", err)
	}
	if err := keepPrevious(path); err != nil {
		return fmt.Errorf("keep the previous snapshot: %w", err)
	}
	if err := os.Rename(aside, path); err != nil {
		return fmt.Errorf("put the snapshot in place: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

func frameHeader(header SnapshotHeader, sections []SnapshotSection) ([]byte, error) {
	framed := framedHeader{SnapshotHeader: header}
	for _, section := range sections {
		framed.Sections = append(framed.Sections, framedSection{section.Name, int64(len(section.Data))})
	}
	text, err := json.Marshal(&framed)
	if err != nil {
		return nil, fmt.Errorf("frame the snapshot's header: %w", err)
	}
	if len(text) > maxSnapshotHeader {
		return nil, fmt.Errorf("the snapshot's header has %d bytes; at most %d", len(text), maxSnapshotHeader)
	}
	head := append([]byte(snapshotMagic), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(head[8:], snapshotVersion)
	binary.LittleEndian.PutUint32(head[12:], uint32(len(text)))
	head = append(head, text...)
	return binary.LittleEndian.AppendUint64(head, xxhash.Sum64(head)), nil
}

func writeSynced(path string, head []byte, sections []SnapshotSection) (err error) {
	// What a killed writer left goes first. A pipe of that name would make us wait for its reader.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(head); err != nil {
		return err
	}
	for _, section := range sections {
		if _, err := file.Write(section.Data); err != nil {
			return err
		}
		if _, err := file.Write(binary.LittleEndian.AppendUint64(nil, xxhash.Sum64(section.Data))); err != nil {
			return err
		}
	}
	return file.Sync()
}

// keepPrevious gives the present snapshot its second name. It keeps its first one until
// the new snapshot takes that.
func keepPrevious(path string) error {
	spare := PreviousSnapshot(path) + ".new"
	if err := os.Remove(spare); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, spare); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the first one
		}
		return err
	}
	return os.Rename(spare, PreviousSnapshot(path))
}

func syncFolder(dir string) (err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	return folder.Sync()
}

// ReadSnapshot reads a snapshot and checks all of it. The sections are parts of one piece
// of memory. An error other than [ErrDamaged] is the file system's.
func ReadSnapshot(path string) (SnapshotHeader, []SnapshotSection, error) {
	info, err := os.Stat(path)
	if err != nil {
		return SnapshotHeader{}, nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSnapshotBytes {
		return SnapshotHeader{}, nil, fmt.Errorf("%w: %s is no file, or has more than %d GiB", ErrDamaged, path, maxSnapshotBytes>>30)
	}
	data, err := files.Read(path, maxSnapshotBytes)
	if err != nil {
		return SnapshotHeader{}, nil, err
	}
	return parseSnapshot(data)
}

func parseSnapshot(data []byte) (SnapshotHeader, []SnapshotSection, error) {
	framed, rest, err := parseHeader(data)
	if err != nil {
		return SnapshotHeader{}, nil, err
	}
	sections := make([]SnapshotSection, 0, len(framed.Sections))
	for _, section := range framed.Sections {
		if section.Bytes < 0 || int64(len(rest)) < 8 || section.Bytes > int64(len(rest))-8 {
			return framed.SnapshotHeader, nil, fmt.Errorf("%w: it ends within the section %q", ErrDamaged, section.Name)
		}
		content := rest[:section.Bytes:section.Bytes]
		rest = rest[section.Bytes:]
		if binary.LittleEndian.Uint64(rest) != xxhash.Sum64(content) {
			return framed.SnapshotHeader, nil, fmt.Errorf("%w: the sum of the section %q is wrong", ErrDamaged, section.Name)
		}
		rest = rest[8:]
		sections = append(sections, SnapshotSection{section.Name, content})
	}
	if len(rest) > 0 {
		return framed.SnapshotHeader, nil, fmt.Errorf("%w: %d bytes follow its end", ErrDamaged, len(rest))
	}
	return framed.SnapshotHeader, sections, nil
}

func parseHeader(data []byte) (framed framedHeader, rest []byte, err error) {
	const fixed = len(snapshotMagic) + 8
	if len(data) < fixed || string(data[:len(snapshotMagic)]) != snapshotMagic {
		return framed, nil, fmt.Errorf("%w: it does not begin like one", ErrDamaged)
	}
	size := int(binary.LittleEndian.Uint32(data[12:]))
	if size > maxSnapshotHeader || len(data) < fixed+size+8 {
		return framed, nil, fmt.Errorf("%w: it ends within its header", ErrDamaged)
	}
	if binary.LittleEndian.Uint64(data[fixed+size:]) != xxhash.Sum64(data[:fixed+size]) {
		return framed, nil, fmt.Errorf("%w: the sum of its header is wrong", ErrDamaged)
	}
	if version := binary.LittleEndian.Uint32(data[8:]); version != snapshotVersion {
		return framed, nil, fmt.Errorf("the snapshot's frame has version %d, this program reads %d", version, snapshotVersion)
	}
	if err := json.Unmarshal(data[fixed:fixed+size], &framed); err != nil {
		return framed, nil, fmt.Errorf("%w: its header is no JSON: %w", ErrDamaged, err)
	}
	return framed, data[fixed+size+8:], nil
}
