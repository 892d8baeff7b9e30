package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	bolt "go.etcd.io/bbolt"
)

// etcd ends a snapshot with the SHA-256 of all before it. Without it, a snapshot is a whole number of
// sectors long.
const sectorBytes = 512

// seal hashes a stream as it is written, both whole and without its last 32 bytes, which it keeps.
type seal struct {
	all, body hash.Hash
	last      []byte // at most sha256.Size bytes
	size      int64
}

func newSeal() *seal { return &seal{all: sha256.New(), body: sha256.New()} }

// Write never fails.
func (s *seal) Write(p []byte) (int, error) {
	_, _ = s.all.Write(p)
	s.size += int64(len(p))
	if len(p) >= sha256.Size {
		_, _ = s.body.Write(s.last)
		cut := len(p) - sha256.Size
		_, _ = s.body.Write(p[:cut])
		s.last = append(s.last[:0], p[cut:]...)
		return len(p), nil
	}
	s.last = append(s.last, p...)
	if extra := len(s.last) - sha256.Size; extra > 0 {
		_, _ = s.body.Write(s.last[:extra])
		s.last = append(s.last[:0], s.last[extra:]...)
	}
	return len(p), nil
}

// sum is the SHA-256 of all.
func (s *seal) sum() string { return hex.EncodeToString(s.all.Sum(nil)) }

// check says whether what was written is a snapshot that ends with its hash.
func (s *seal) check() error {
	switch {
	case s.size%sectorBytes != sha256.Size:
		return fmt.Errorf("the snapshot has %d bytes, so it does not end with etcd's SHA-256: it was cut short", s.size)
	case !bytes.Equal(s.body.Sum(nil), s.last):
		return errors.New("the snapshot does not have the SHA-256 that etcd put at its end")
	}
	return nil
}

// revisions are what a snapshot says of itself: its last revision, and up to which it was compacted (0:
// never). Only etcd's database tells it.
func revisions(file string) (last, compacted int64, err error) {
	db, err := bolt.Open(file, 0o400, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return 0, 0, fmt.Errorf("the snapshot is no database of etcd: %w", err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		keys, meta := tx.Bucket([]byte("key")), tx.Bucket([]byte("meta"))
		if keys == nil || meta == nil {
			return errors.New("the snapshot is no database of etcd: it has no keys")
		}
		// What was compacted, or is about to be: a revision whose only change was removed is not among keys.
		compacted = max(mainRevision(meta.Get([]byte("scheduledCompactRev"))), mainRevision(meta.Get([]byte("finishedCompactRev"))))
		key, _ := keys.Cursor().Last()
		last = max(1, compacted, mainRevision(key))
		return nil
	})
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return last, compacted, err
}

// mainRevision reads a revision as etcd writes it: 8 bytes of its number come first.
func mainRevision(key []byte) int64 {
	if len(key) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(key))
}
