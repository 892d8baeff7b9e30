package chain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A record is
//
//	uvarint   length of what follows up to the checksum
//	1 byte    'L' lease, 'P' put, 'D' delete
//	          L: lease ID, TTL in seconds
//	          P: mod revision, create revision, version, lease ID, length of the key, key, value
//	          D: mod revision, key
//	4 bytes   CRC-32C of the byte and all after it, in little endian
//
// where numbers are varints, lengths uvarints, and the last item goes to the end.
const (
	recordLease  = 'L'
	recordPut    = 'P'
	recordDelete = 'D'
)

var errRecord = errors.New("a record is cut short, or longer than it says")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encodeRecords writes leases first, since keys need them.
func encodeRecords(leases []Lease, events []Event) (records []byte) {
	var record []byte
	table := castagnoli()
	add := func() {
		records = binary.AppendUvarint(records, uint64(len(record)))
		records = append(records, record...)
		records = binary.LittleEndian.AppendUint32(records, crc32.Checksum(record, table))
	}
	for _, lease := range leases {
		record = appendNumbers(append(record[:0], recordLease), lease.ID, lease.TTL)
		add()
	}
	for i := range events {
		e := &events[i]
		if e.Delete {
			record = appendNumbers(append(record[:0], recordDelete), e.ModRevision)
			record = append(record, e.Key...)
		} else {
			record = appendNumbers(append(record[:0], recordPut), e.ModRevision, e.CreateRevision, e.Version, e.Lease)
			record = binary.AppendUvarint(record, uint64(len(e.Key)))
			record = append(append(record, e.Key...), e.Value...)
		}
		add()
	}
	return records
}

func appendNumbers(to []byte, numbers ...int64) []byte {
	for _, n := range numbers {
		to = binary.AppendVarint(to, n)
	}
	return to
}

// decodeRecords reads all records. Keys and values are parts of the given bytes.
func decodeRecords(records []byte) (leases []Lease, events []Event, err error) {
	table := castagnoli()
	for len(records) > 0 {
		size, n := binary.Uvarint(records)
		if n <= 0 || size < 1 || size > uint64(len(records)) || uint64(len(records)-n) < size+4 {
			return nil, nil, errRecord
		}
		record, sum := records[n:n+int(size)], records[n+int(size):n+int(size)+4]
		if crc32.Checksum(record, table) != binary.LittleEndian.Uint32(sum) {
			return nil, nil, errors.New("a record does not have its CRC-32C: it was changed")
		}
		records = records[n+int(size)+4:]
		switch kind := record[0]; kind {
		case recordLease:
			var lease Lease
			if rest, ok := numbers(record[1:], &lease.ID, &lease.TTL); !ok || len(rest) > 0 || lease.ID == 0 || lease.TTL < 0 {
				return nil, nil, errRecord
			}
			leases = append(leases, lease)
		case recordPut, recordDelete:
			event, ok := decodeEvent(record)
			if !ok {
				return nil, nil, errRecord
			}
			events = append(events, event)
		default:
			return nil, nil, fmt.Errorf("a record is of kind %q, which this program does not know; use a newer program", kind)
		}
	}
	return leases, events, nil
}

func decodeEvent(record []byte) (e Event, ok bool) {
	if record[0] == recordDelete {
		e.Delete = true
		e.Key, ok = numbers(record[1:], &e.ModRevision)
		return e, ok
	}
	rest, ok := numbers(record[1:], &e.ModRevision, &e.CreateRevision, &e.Version, &e.Lease)
	if !ok {
		return e, false
	}
	size, n := binary.Uvarint(rest)
	if n <= 0 || size > uint64(len(rest)-n) {
		return e, false
	}
	e.Key, e.Value = rest[n:n+int(size)], rest[n+int(size):]
	return e, true
}

// numbers reads varints, and returns what follows them.
func numbers(from []byte, into ...*int64) (rest []byte, ok bool) {
	for _, to := range into {
		var n int
		if *to, n = binary.Varint(from); n <= 0 {
			return nil, false
		}
		from = from[n:]
	}
	return from, true
}
