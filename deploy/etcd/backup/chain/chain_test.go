package chain_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/deploy/etcd/backup/chain"
)

const id = "20261128T020000.000Z-0a1b2c"

var taken = time.Date(2026, 11, 28, 2, 0, 0, 0, time.UTC)

func manifest() *chain.Manifest {
	return &chain.Manifest{
		ID: id, Taken: taken, Cluster: "cdf818194e3a8c32", Member: "8e9e05c52164694d", EtcdVersion: "3.7.3", Revision: 41, CompactRevision: 7,
		Size: 20512, SHA256: strings.Repeat("ab", 32), HashKV: &chain.HashKV{Hash: 12, Revision: 41, CompactRevision: 7},
	}
}

func delta() *chain.Delta {
	return &chain.Delta{
		DeltaHeader: chain.DeltaHeader{
			ID: id, Seq: 1, First: 42, Last: 44, Previous: strings.Repeat("cd", 32), Cluster: "cdf818194e3a8c32", Written: taken,
			HashKV: &chain.HashKV{Hash: 13, Revision: 44, CompactRevision: -1},
		},
		Leases: []chain.Lease{{ID: 7587, TTL: 30}, {ID: 1, TTL: 0}},
		Events: []chain.Event{
			{Key: []byte("a"), Value: []byte("1"), CreateRevision: 42, ModRevision: 42, Version: 1, Lease: 7587},
			{Key: []byte("b"), Value: []byte{}, CreateRevision: 3, ModRevision: 43, Version: 9},
			{Key: []byte{0, 255}, Value: bytes.Repeat([]byte("long "), 1000), CreateRevision: 43, ModRevision: 43, Version: 1},
			{Delete: true, Key: []byte("a"), ModRevision: 44},
		},
	}
}

func encoded(t testing.TB, d *chain.Delta) []byte {
	t.Helper()
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestObjectsReadAsTheyWereWritten(t *testing.T) {
	m := manifest()
	data, hash, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	readM, readHash, err := chain.DecodeManifest(id, data)
	if err != nil || hash != readHash || !cmp.Equal(m, readM) {
		t.Errorf("manifest: %v, %s and %s: %s", err, hash, readHash, cmp.Diff(m, readM))
	}
	h := &chain.Head{ID: id, Number: 3, Seq: 1, SHA256: hash, Revision: 44, Covered: taken}
	data, err = h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if read, err := chain.DecodeHead(chain.ParseName(chain.HeadName(id, 1, 3)), data); err != nil || !cmp.Equal(h, read) {
		t.Errorf("head: %v: %s", err, cmp.Diff(h, read))
	}
	d := delta()
	data = encoded(t, d)
	if read, err := chain.DecodeDelta(id, 1, data); err != nil || !cmp.Equal(d, read) {
		t.Errorf("delta: %v: %s", err, cmp.Diff(d, read))
	}
	if sum := sha256.Sum256(data); d.SHA256 != hex.EncodeToString(sum[:]) {
		t.Error("the hash of a delta is not that of its bytes")
	}
}

func TestNoBitOfAnObjectCanBeFlippedUnseen(t *testing.T) {
	m, _, _ := manifest().Encode()
	h, _ := (&chain.Head{ID: id, Number: 3, Seq: 1, SHA256: strings.Repeat("ab", 32), Revision: 44, Covered: taken}).Encode()
	for name, object := range map[string]struct {
		data []byte
		read func([]byte) error
	}{
		"manifest": {m, func(b []byte) error { _, _, err := chain.DecodeManifest(id, b); return err }},
		"head": {h, func(b []byte) error {
			_, err := chain.DecodeHead(chain.ParseName(chain.HeadName(id, 1, 3)), b)
			return err
		}},
		"delta": {encoded(t, delta()), func(b []byte) error { _, err := chain.DecodeDelta(id, 1, b); return err }},
	} {
		if err := object.read(object.data); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range object.data {
			for bit := range 8 {
				changed := slices.Clone(object.data)
				changed[i] ^= 1 << bit
				if object.read(changed) == nil {
					t.Errorf("%s: bit %d of byte %d was flipped unseen", name, bit, i)
				}
			}
			if object.read(object.data[:i]) == nil {
				t.Errorf("%s: cut to %d bytes unseen", name, i)
			}
		}
		if object.read(append(slices.Clone(object.data), 0)) == nil {
			t.Errorf("%s: a byte was added unseen", name)
		}
	}
}

func TestObjectsOfAnotherPlaceAreRefused(t *testing.T) {
	const other = "20261128T020001.000Z-0a1b2c"
	m, _, _ := manifest().Encode()
	if _, _, err := chain.DecodeManifest(other, m); err == nil || !strings.Contains(err.Error(), id) {
		t.Errorf("a manifest of another chain: %v", err)
	}
	data := encoded(t, delta())
	if _, err := chain.DecodeDelta(id, 2, data); err == nil || !strings.Contains(err.Error(), "delta-00000001") {
		t.Errorf("a delta of another number: %v", err)
	}
	if _, err := chain.DecodeDelta(other, 1, data); err == nil {
		t.Error("a delta of another chain is taken")
	}
	h, _ := (&chain.Head{ID: id, Number: 3, Seq: 1, SHA256: strings.Repeat("ab", 32), Revision: 44}).Encode()
	if _, err := chain.DecodeHead(chain.ParseName(chain.HeadName(id, 1, 2)), h); err == nil {
		t.Error("a head of another number is taken")
	}
}

func TestADeltaHasAllRevisionsThatItNames(t *testing.T) {
	for what, change := range map[string]func(*chain.Delta){
		"one is missing":      func(d *chain.Delta) { d.Events = slices.Delete(d.Events, 1, 3) },
		"the first is":        func(d *chain.Delta) { d.Events = d.Events[1:] },
		"the last is":         func(d *chain.Delta) { d.Events = d.Events[:3] },
		"two are exchanged":   func(d *chain.Delta) { d.Events[0], d.Events[3] = d.Events[3], d.Events[0] },
		"one comes too early": func(d *chain.Delta) { d.First = 43 },
		"a key has no name":   func(d *chain.Delta) { d.Events[1].Key = nil },
		"nothing before":      func(d *chain.Delta) { d.Previous = "" },
	} {
		d := delta()
		change(d)
		if _, err := d.Encode(); err == nil {
			t.Errorf("%s: it is taken", what)
		}
	}
}

func TestNamesReadAsTheyAreWritten(t *testing.T) {
	for object, want := range map[string]chain.Name{
		chain.FullName(id):                    {Kind: chain.Full, ID: id},
		chain.ManifestName(id):                {Kind: chain.ManifestFile, ID: id},
		chain.DeltaName(id, 12):               {Kind: chain.DeltaFile, ID: id, Seq: 12},
		chain.DeltaName(id, 1234567890):       {Kind: chain.DeltaFile, ID: id, Seq: 1234567890},
		chain.HeadName(id, 0, 1):              {Kind: chain.HeadFile, ID: id, Number: 1},
		id + "/delta-1":                       {},
		id + "/delta--0000001":                {},
		id + "/delta-00000001-1":              {},
		id + "/head-00000001":                 {},
		id + "/other":                         {},
		"20261128T020000.000Z/full.db":        {},
		"full.db":                             {},
		id:                                    {},
		id + "/full.db/more":                  {},
		"x" + id + "/full.json":               {},
		strings.ToUpper(id) + "/full.json":    {},
		"20261128T020000x000Z-0a1b2c/full.db": {},
	} {
		if got := chain.ParseName(object); got != want {
			t.Errorf("%s reads as %+v, want %+v", object, got, want)
		}
	}
	made := chain.NewID(taken)
	if err := chain.CheckID(made); err != nil || !chain.Began(made).Equal(taken) || made == chain.NewID(taken) {
		t.Errorf("%s: %v", made, err)
	}
	if chain.CheckID("../x") == nil || !chain.Began("x").IsZero() {
		t.Error("what is no ID is taken for one")
	}
}

func FuzzDelta(f *testing.F) {
	whole := encoded(f, delta())
	f.Add(whole, false)
	f.Add(whole[:len(whole)-32], true)
	f.Add(whole[:40], true)
	f.Add([]byte("GRDELTA1\x00\x00\x00\x00"), true)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed { // what comes behind the hash is to be reached too
			sum := sha256.Sum256(data)
			data = append(slices.Clone(data), sum[:]...)
		}
		if size := binary.LittleEndian.Uint32(append(slices.Clone(data), make([]byte, 12)...)[8:]); int(size) <= len(data)-12 {
			var h chain.DeltaHeader
			if json.Unmarshal(data[12:12+size], &h) == nil && h.RecordsBytes > 1<<20 {
				return // a bomb that is within bounds
			}
		}
		d, err := chain.DecodeDelta(id, 1, data)
		if err != nil {
			return
		}
		again, err := d.Encode()
		if err != nil {
			t.Fatalf("it was read and cannot be written: %v", err)
		}
		if read, err := chain.DecodeDelta(id, 1, again); err != nil || len(read.Events) != len(d.Events) {
			t.Fatalf("it was written and cannot be read: %v", err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	data, _, _ := manifest().Encode()
	f.Add(data)
	f.Add([]byte(`{"content":{},"sha256":""}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := chain.DecodeManifest(id, data)
		if err != nil {
			return
		}
		if again, _, err := m.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q was read, and is written as %q (%v)", data, again, err)
		}
	})
}

func FuzzHead(f *testing.F) {
	data, _ := (&chain.Head{ID: id, Number: 3, Seq: 1, SHA256: strings.Repeat("ab", 32), Revision: 44}).Encode()
	f.Add(data)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := chain.DecodeHead(chain.ParseName(chain.HeadName(id, 1, 3)), data)
		if err != nil {
			return
		}
		if again, err := h.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q was read, and is written as %q (%v)", data, again, err)
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add(chain.DeltaName(id, 1))
	f.Add(chain.HeadName(id, 1, 2))
	f.Add(id + "/delta--0000001")
	f.Fuzz(func(t *testing.T, object string) {
		written := ""
		switch name := chain.ParseName(object); name.Kind {
		case chain.Full:
			written = chain.FullName(name.ID)
		case chain.ManifestFile:
			written = chain.ManifestName(name.ID)
		case chain.DeltaFile:
			written = chain.DeltaName(name.ID, name.Seq)
		case chain.HeadFile:
			written = chain.HeadName(name.ID, name.Seq, name.Number)
		case chain.Other:
			return
		}
		if written != object {
			t.Fatalf("%q reads as %q", object, written)
		}
	})
}
