package starter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"google.golang.org/protobuf/proto"

	"gridrouter.io/deploy/etcd/member"
	"gridrouter.io/discovery/files"
)

// headBytes is how much of a segment is read: its first two records, a checksum and the metadata, are below 100 bytes.
const headBytes = 4096

// segmentName is the form of a segment's name: its number, and the raft index that it begins at.
var segmentName = regexp.MustCompile(`^[0-9a-f]{16}-([0-9a-f]{16})\.wal$`)

// readIdentity returns whose data a folder has, or nil if it has no log. It is read from the oldest segment. Later ones
// repeat it, and etcd compares them when it starts.
func readIdentity(dataDir string) (*member.Identity, error) {
	segment, err := oldestSegment(dataDir)
	if err != nil || segment == "" {
		return nil, err
	}
	head, _, err := files.Head(segment, headBytes)
	if err != nil {
		return nil, unreadable("the log segment "+segment, err)
	}
	identity, err := decode(filepath.Base(segment), head)
	if err != nil {
		return nil, damaged("the log segment "+segment, err)
	}
	return &identity, nil
}

// oldestSegment returns the path of the first segment of a folder's log, or nothing if there is none. As in etcd,
// a log is there if a name ends in .wal.
func oldestSegment(dataDir string) (string, error) {
	folder := memberDir(dataDir, "wal")
	entries, err := os.ReadDir(folder) // sorted by name
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", unusable(err)
	}
	there := false
	for _, entry := range entries {
		if segmentName.MatchString(entry.Name()) {
			return filepath.Join(folder, entry.Name()), nil
		}
		there = there || strings.HasSuffix(entry.Name(), ".wal")
	}
	if there {
		return "", damaged("the log "+folder, errors.New("no file has the name of a segment, NUMBER-INDEX.wal"))
	}
	return "", nil
}

// decode reads the identity out of the head of a segment.
func decode(name string, head []byte) (member.Identity, error) {
	decoder := wal.NewDecoder(&reader{bytes.NewReader(head), info{name: name, size: int64(len(head))}})
	for _, want := range []int64{wal.CrcType, wal.MetadataType} {
		var record walpb.Record
		if err := decoder.Decode(&record); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it ends before its metadata")
			}
			return member.Identity{}, err
		}
		if record.GetType() != want {
			return member.Identity{}, fmt.Errorf("a record of type %d stands where one of type %d must be", record.GetType(), want)
		}
		if want == wal.CrcType {
			decoder.UpdateCRC(record.GetCrc())
			continue
		}
		var metadata etcdserverpb.Metadata
		if err := proto.Unmarshal(record.GetData(), &metadata); err != nil {
			return member.Identity{}, err
		}
		if metadata.GetNodeID() == 0 || metadata.GetClusterID() == 0 {
			return member.Identity{}, errors.New("its metadata lack the ID of the member or of the cluster")
		}
		return member.Identity{Member: metadata.GetNodeID(), Cluster: metadata.GetClusterID()}, nil
	}
	return member.Identity{}, errors.New("it has no metadata")
}

// damaged returns the refusal of data that etcd could not start from.
func damaged(what string, err error) error {
	return refuse(member.ExitUnreadable, "%s cannot be read: %w. etcd could not start from it; the operator replaces the member", what, err)
}

// unreadable returns the refusal of a file that could not be read: for want of rights, or because of what it is.
func unreadable(what string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return unusable(err)
	}
	return damaged(what, err)
}

// unusable returns the refusal of a folder that cannot be used, whose error has the path.
func unusable(err error) error {
	return refuse(member.ExitUnusable, "the data cannot be used: %w. Mend the volume: its rights, its space, its mount", err)
}

// reader is the head of a segment as etcd's decoder wants it. It says that the segment has no more than the head, so
// that a hostile length asks for no more memory.
type reader struct {
	*bytes.Reader
	info info
}

// FileInfo returns the name and the size; the decoder asks for no more.
func (r *reader) FileInfo() (fs.FileInfo, error) { return r.info, nil }

type info struct {
	fs.FileInfo
	name string
	size int64
}

// Name returns the segment's name.
func (i info) Name() string { return i.name }

// Size returns how much of the segment there is to read, in bytes.
func (i info) Size() int64 { return i.size }
