package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The form of a delta, integers in little endian:
//
//	8 bytes   "GRDELTA1"
//	4 bytes   length of the header
//	          the header, in JSON
//	          records, compressed by zstd
//	32 bytes  SHA-256 of all before
//
// What a record is, is in records.go.
const (
	magic = "GRDELTA1"
	// maxHeaderBytes bounds the header.
	maxHeaderBytes = 16 << 10
	// MaxDeltaBytes bounds a delta, in bytes. One holds a revision whole, and etcd's largest is a range that
	// is deleted.
	MaxDeltaBytes = 1 << 30
	// maxRecordsBytes bounds its records before they are compressed.
	maxRecordsBytes = 2 << 30
)

// DeltaHeader describes a delta.
type DeltaHeader struct {
	// ID is of the chain, Seq the delta's number in it, from 1.
	ID  string `json:"id"`
	Seq int64  `json:"seq"`
	// First and Last are the revisions that it holds all events of.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Previous is the SHA-256 of the delta before, or of the manifest, in hexadecimal.
	Previous string `json:"previous"`
	// Cluster is etcd's ID of the cluster, in hexadecimal.
	Cluster string    `json:"cluster"`
	Written time.Time `json:"written"`
	// Events, Leases and RecordsBytes are counted by Encode.
	Events       int   `json:"events"`
	Leases       int   `json:"leases"`
	RecordsBytes int64 `json:"recordsBytes"`
	// HashKV is what the cluster said of Last; nil if it was not asked.
	HashKV *HashKV `json:"hashKV,omitempty"`
}

// Event is one change of one key.
type Event struct {
	// Delete: the key was deleted, and only Key and ModRevision are told.
	Delete     bool
	Key, Value []byte
	// Lease is the ID of the key's lease, 0 for none.
	Lease int64
	// ModRevision is the change's own revision, CreateRevision that at which the key came to be, Version how
	// often it was put since.
	CreateRevision, ModRevision, Version int64
}

// Lease is a lease that keys of a delta have.
type Lease struct {
	ID int64
	// TTL is what it was granted for, in seconds; 0: it was gone when etcd was asked.
	TTL int64
}

// Delta is what a delta holds.
type Delta struct {
	DeltaHeader
	Leases []Lease
	// Events are in the order in which etcd made them; those of one revision are of one transaction.
	Events []Event
	// SHA256 is what the next one names as the one before it.
	SHA256 string
}

// Encode writes a delta, and sets its counts and SHA256. The events are all those of the revisions from
// First to Last, in order.
func (d *Delta) Encode() ([]byte, error) {
	records := encodeRecords(d.Leases, d.Events)
	d.DeltaHeader.Leases, d.DeltaHeader.Events, d.RecordsBytes = len(d.Leases), len(d.Events), int64(len(records))
	if err := d.check(); err != nil {
		return nil, err
	}
	header, err := json.Marshal(d.DeltaHeader)
	if err != nil {
		return nil, err
	}
	compressor, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	data := append([]byte(magic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(data[len(magic):], uint32(len(header)))
	data = compressor.EncodeAll(records, append(data, header...))
	if err := compressor.Close(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	data = append(data, sum[:]...)
	d.SHA256 = hexOf(data)
	if len(data) > MaxDeltaBytes {
		return nil, fmt.Errorf("the events of the revisions %d to %d have %d bytes, more than a delta may have", d.First, d.Last, len(data))
	}
	return data, nil
}

// DecodeDelta reads a delta. What differs from what was written by a bit is refused, and so is what is
// whole and no delta of the chain and number that are asked for.
func DecodeDelta(id string, seq int64, data []byte) (*Delta, error) {
	const least = len(magic) + 4 + sha256.Size
	if len(data) < least || string(data[:len(magic)]) != magic {
		return nil, errors.New("it is no delta, or it was cut short")
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if is := sha256.Sum256(body); !bytes.Equal(is[:], sum) {
		return nil, errors.New("it does not have its SHA-256: it was changed or cut short")
	}
	size, rest := binary.LittleEndian.Uint32(body[len(magic):]), body[len(magic)+4:]
	if size > maxHeaderBytes || int(size) > len(rest) {
		return nil, errors.New("its header is longer than any that was written")
	}
	d := &Delta{SHA256: hexOf(data)}
	if err := strict(rest[:size], &d.DeltaHeader); err != nil {
		return nil, err
	}
	if d.ID != id || d.Seq != seq {
		return nil, fmt.Errorf("it belongs to %q", DeltaName(d.ID, d.Seq))
	}
	records, err := decompress(rest[size:], d.RecordsBytes)
	if err != nil {
		return nil, err
	}
	if d.Leases, d.Events, err = decodeRecords(records); err != nil {
		return nil, err
	}
	if len(d.Leases) != d.DeltaHeader.Leases || len(d.Events) != d.DeltaHeader.Events {
		return nil, errors.New("it does not hold as many events as it says")
	}
	return d, d.check()
}

// decompress returns exactly size bytes, or an error. Memory grows with what is there, not with what a
// header says.
func decompress(data []byte, size int64) ([]byte, error) {
	if size < 0 || size > maxRecordsBytes {
		return nil, errors.New("its records are larger than any that were written")
	}
	reader, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	records, err := io.ReadAll(io.LimitReader(reader, size+1))
	if err != nil {
		return nil, fmt.Errorf("its records cannot be decompressed: %w", err)
	}
	if int64(len(records)) != size {
		return nil, errors.New("its records are not as long as it says")
	}
	return records, nil
}

// check says what is wrong with what a delta holds: every revision from First to Last has an event, since
// etcd counts no revision without one.
func (d *Delta) check() error {
	if d.Seq < 1 || d.First < 2 || d.Last < d.First || len(d.Previous) != 2*sha256.Size {
		return errors.New("its header names no revisions, or nothing before it")
	}
	next := d.First
	for i := range d.Events {
		e := &d.Events[i]
		switch {
		case e.ModRevision == next:
			next++
		case e.ModRevision != next-1 || i == 0:
			return fmt.Errorf("revision %d follows where %d or %d must", e.ModRevision, next-1, next)
		}
		if len(e.Key) == 0 {
			return fmt.Errorf("revision %d changes a key without a name", e.ModRevision)
		}
	}
	if next != d.Last+1 {
		return fmt.Errorf("its events end at revision %d, and it says %d", next-1, d.Last)
	}
	return nil
}
