package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// format is the number of the form that is written and read.
const format = 1

// MaxJSONBytes bounds a manifest or head, in bytes.
const MaxJSONBytes = 64 << 10

// HashKV is what etcd's HashKV said of all keys at a revision. Two clusters say the same if they have the
// same history between the two revisions; lease IDs of keys are part of it.
type HashKV struct {
	Hash uint32 `json:"hash"`
	// Revision is the last one that is in the hash.
	Revision int64 `json:"revision"`
	// CompactRevision is up to where superseded values were left out; -1: etcd was never compacted.
	CompactRevision int64 `json:"compactRevision"`
}

// Manifest describes a full backup.
type Manifest struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	// Taken is when the snapshot was asked for.
	Taken time.Time `json:"taken"`
	// Cluster and Member are etcd's IDs in hexadecimal: of the cluster, and of the member that was asked.
	Cluster string `json:"cluster"`
	Member  string `json:"member"`
	// EtcdVersion is the member's.
	EtcdVersion string `json:"etcdVersion"`
	// Revision is the last one in the snapshot, CompactRevision the last compacted one (0: none).
	Revision        int64 `json:"revision"`
	CompactRevision int64 `json:"compactRevision"`
	// Size and SHA256 are of the object with the snapshot, with the hash that etcd puts at its end.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// HashKV is what the cluster said of Revision; nil if it could not say.
	HashKV *HashKV `json:"hashKV,omitempty"`
}

// Head says how far a chain goes.
type Head struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	// Number is the head's own, from 1.
	Number int64 `json:"number"`
	// Seq is the last delta, 0 if there is none yet; SHA256 is that of the delta, or of the manifest.
	Seq    int64  `json:"seq"`
	SHA256 string `json:"sha256"`
	// Revision is the last one that the chain covers, Covered when etcd said that there was none newer.
	Revision int64     `json:"revision"`
	Covered  time.Time `json:"covered"`
	// HashKV is what the cluster said of Revision; nil if it was not asked.
	HashKV *HashKV `json:"hashKV,omitempty"`
}

// sealed is how manifests and heads are written.
type sealed struct {
	Content json.RawMessage `json:"content"`
	SHA256  string          `json:"sha256"`
}

// Encode returns the manifest's bytes, and what a first delta names as the one before it.
func (m *Manifest) Encode() (data []byte, hash string, err error) {
	m.Format = format
	return seal(m)
}

// DecodeManifest reads the manifest of a chain, and refuses what differs from what was written by a bit.
// hash is what a first delta names as the one before it.
func DecodeManifest(id string, data []byte) (m *Manifest, hash string, err error) {
	m = &Manifest{}
	if hash, err = unseal(data, m); err != nil {
		return nil, "", err
	}
	switch {
	case m.Format != format:
		return nil, "", fmt.Errorf("it has format %d, and this program knows %d; use a newer program", m.Format, format)
	case m.ID != id:
		return nil, "", fmt.Errorf("it belongs to %q", m.ID)
	case m.Revision < 1 || m.Size < sha256.Size || len(m.SHA256) != 2*sha256.Size:
		return nil, "", errors.New("revision, size or SHA-256 is missing")
	}
	return m, hash, nil
}

// Encode returns the head's bytes.
func (h *Head) Encode() ([]byte, error) {
	h.Format = format
	data, _, err := seal(h)
	return data, err
}

// DecodeHead reads the head that has a name, as [DecodeManifest] does.
func DecodeHead(name Name, data []byte) (*Head, error) {
	h := &Head{}
	if _, err := unseal(data, h); err != nil {
		return nil, err
	}
	switch {
	case h.Format != format:
		return nil, fmt.Errorf("it has format %d, and this program knows %d; use a newer program", h.Format, format)
	case h.ID != name.ID || h.Seq != name.Seq || h.Number != name.Number:
		return nil, fmt.Errorf("it belongs to %q", HeadName(h.ID, h.Seq, h.Number))
	case h.Revision < 1 || h.Seq < 0 || h.Number < 1 || len(h.SHA256) != 2*sha256.Size:
		return nil, errors.New("revision, number or SHA-256 is missing")
	}
	return h, nil
}

// seal writes content with its hash, and returns the hash of all.
func seal(content any) (data []byte, hash string, err error) {
	text, err := json.Marshal(content)
	if err != nil {
		return nil, "", err
	}
	data, err = json.Marshal(sealed{Content: text, SHA256: hexOf(text)})
	if err != nil {
		return nil, "", err
	}
	data = append(data, '\n')
	return data, hexOf(data), nil
}

// unseal reads into content, a pointer, what seal wrote, and nothing else.
func unseal(data []byte, content any) (hash string, err error) {
	if len(data) > MaxJSONBytes {
		return "", fmt.Errorf("it has %d bytes, more than any that was written", len(data))
	}
	var outer sealed
	if err := strict(data, &outer); err != nil {
		return "", err
	}
	if hexOf(outer.Content) != outer.SHA256 {
		return "", errors.New("its content does not have its SHA-256: it was changed")
	}
	if err := strict(outer.Content, content); err != nil {
		return "", err
	}
	again, hash, err := seal(content)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(again, data) {
		return "", errors.New("it does not read as it was written: it was changed")
	}
	return hash, nil
}

func strict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("it is not what was written: %w", err)
	}
	return nil
}

func hexOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
