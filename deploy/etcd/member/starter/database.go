package starter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path/filepath"

	"gridrouter.io/discovery/files"
)

// The first two pages of a database of bbolt hold a description of it each, and a transaction changes the older one.
// A description is behind the page's own header, and has its numbers in the order of the machine's bytes, which is
// little-endian on all that etcd supports.
const (
	pageHeader   = 16
	metaBytes    = 64
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	smallestPage = 512
	largestPage  = 64 << 10
)

// checkDatabase refuses data whose database etcd could not open. Without a database etcd makes a new one out of
// the log, which must then reach back to the beginning.
func checkDatabase(dataDir string) error {
	path := memberDir(dataDir, "snap", "db")
	head, size, err := files.Head(path, largestPage+pageHeader+metaBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && size == 0:
		return checkWholeLog(dataDir, path)
	case err != nil:
		return unreadable("the database "+path, err)
	}
	if err := checkMeta(head, size); err != nil {
		return damaged("the database "+path, err)
	}
	return nil
}

// checkWholeLog refuses a log that does not begin at the beginning.
func checkWholeLog(dataDir, database string) error {
	segment, err := oldestSegment(dataDir)
	if err != nil || segment == "" {
		return err
	}
	match := segmentName.FindStringSubmatch(filepath.Base(segment))
	if match[1] != "0000000000000000" {
		return damaged("the database "+database, fmt.Errorf("it is gone, and the log begins at index 0x%s and cannot bring it back", match[1]))
	}
	return nil
}

// checkMeta looks for a description of a database whose file has so many bytes. The page size is not known before.
func checkMeta(head []byte, size int64) error {
	var newest *meta
	for at := 0; at <= largestPage; at = max(2*at, smallestPage) {
		if m := readMeta(head, at); m != nil && (newest == nil || m.transaction > newest.transaction) {
			newest = m
		}
	}
	switch {
	case newest == nil:
		return errors.New("neither of its first two pages describes a database")
	case uint64(size)/uint64(newest.pageSize) < newest.pages:
		return fmt.Errorf("it was cut: it has %d bytes, and its %d pages of %d bytes need more", size, newest.pages, newest.pageSize)
	}
	return nil
}

// meta is a description of a database.
type meta struct {
	pageSize           uint32
	pages, transaction uint64
}

// readMeta returns what the page at an offset describes, or nil if it does not.
func readMeta(head []byte, at int) *meta {
	if len(head) < at+pageHeader+metaBytes {
		return nil
	}
	raw := head[at+pageHeader:][:metaBytes]
	sum := fnv.New64a()
	_, _ = sum.Write(raw[:metaBytes-8]) // a hash takes all
	m := &meta{
		pageSize: binary.LittleEndian.Uint32(raw[8:]), pages: binary.LittleEndian.Uint64(raw[40:]), transaction: binary.LittleEndian.Uint64(raw[48:]),
	}
	valid := binary.LittleEndian.Uint32(raw) == metaMagic && binary.LittleEndian.Uint32(raw[4:]) == metaVersion &&
		binary.LittleEndian.Uint64(raw[metaBytes-8:]) == sum.Sum64()
	if !valid || m.pageSize < smallestPage || m.pageSize > largestPage {
		return nil
	}
	return m
}
