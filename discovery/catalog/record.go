package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing"
)

// KeptRecords is how many change records of each document are kept.
const KeptRecords = 20

// Record is one change of one document, as etcd keeps it under changes/<document>/<n>.
type Record struct {
	// Number counts the changes of the document, from 1. It is part of the key, not of the value.
	Number int64 `json:"-"`
	// Who made the change: user@host.
	Who string `json:"who"`
	// When it was made, UTC.
	When time.Time `json:"when"`
	// Why it was made, in the words of who made it.
	Why string `json:"why"`
	// Before and After are the document's stored forms; null where there was, or is, none.
	// A value that was not JSON stands as a string.
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

// recordOverhead is how many bytes a record has beside its documents, who and why.
const recordOverhead = 128

// encodeRecord returns the stored form.
func encodeRecord(r Record) ([]byte, error) {
	r.When = r.When.UTC().Truncate(time.Millisecond)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return nil, fmt.Errorf("change record: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// decodeRecord reads the stored form.
func decodeRecord(value []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(value, &r); err != nil {
		return Record{}, fmt.Errorf("is not a change record: %w", err)
	}
	return r, nil
}

// forRecord is a stored value as a record holds it. Values that are not JSON, or that
// no catalog wrote because they are too large, are told, not kept.
func forRecord(value []byte) json.RawMessage {
	switch {
	case len(value) == 0:
		return json.RawMessage("null")
	case len(value) > MaxDocumentBytes+1024:
		return quoted(fmt.Sprintf("(%d bytes, too many to keep)", len(value)))
	case !json.Valid(value):
		return quoted(string(value[:min(len(value), 4096)]))
	}
	return value
}

func quoted(text string) json.RawMessage {
	out, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage("null")
	}
	return out
}

// epochOf reads the epoch of a tenant's stored form, good or bad; 0: there is none that can be one.
func epochOf(value []byte) uint64 {
	var tenant struct{ Epoch uint64 }
	if json.Unmarshal(value, &tenant) != nil || tenant.Epoch > routing.MaxEpoch {
		return 0
	}
	return tenant.Epoch
}

// History returns the change records of one document, the newest first. key is the
// document's key, such as tenants/acme; a document that is gone keeps its records. What cannot be read as a record is left out.
func (c *Catalog) History(ctx context.Context, key string) ([]Record, error) {
	s := &snapshot{Catalog: c}
	return s.history(ctx, key)
}

func (s *snapshot) history(ctx context.Context, key string) ([]Record, error) {
	folder := s.at.records(key)
	answer, err := s.get(ctx, folder, s.options(clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))...)
	if err != nil {
		return nil, s.mend(err)
	}
	s.settle(answer.Header.Revision)
	var records []Record
	for _, kv := range answer.Kvs {
		number, err := recordNumber(strings.TrimPrefix(string(kv.Key), folder))
		if err != nil {
			continue
		}
		if record, err := decodeRecord(kv.Value); err == nil {
			record.Number = number
			records = append(records, record)
		}
	}
	return records, nil
}
