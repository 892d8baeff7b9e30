package restore_test

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/restore"
	"gridrouter.io/deploy/etcd/backup/store"
)

// someChains are two chains of one cluster in a folder, of which the newer has deltas.
func someChains(t *testing.T) (s *store.Folder, id string) {
	t.Helper()
	c, s := startCluster(t), folder(t)
	for round := range 2 {
		f := follow(t, quick(c.config(t, s)))
		for i := range 3 {
			f.reaches(t, c.change(t, 10*round+i))
		}
		f.mustEnd(t)
		if round == 0 {
			if _, err := backup.Take(patient(t), c.config(t, s)); err != nil {
				t.Fatal(err)
			}
		}
	}
	both, err := backup.List(patient(t), s)
	if err != nil || len(both) != 2 {
		t.Fatalf("%d chains, %v", len(both), err)
	}
	for _, one := range both {
		if one.Deltas < 2 {
			t.Fatalf("%s has %d deltas", one.ID, one.Deltas)
		}
		verified(t, s, one.ID)
	}
	return s, both[1].ID
}

func read(t *testing.T, s store.Store, name string) []byte {
	t.Helper()
	data, err := store.GetBytes(patient(t), s, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// replace puts other bytes in an object's place; nil removes it.
func replace(t *testing.T, s store.Store, name string, data []byte) {
	t.Helper()
	if err := s.Delete(patient(t), name); err != nil {
		t.Fatal(err)
	}
	if data != nil {
		if err := store.PutBytes(patient(t), s, name, data); err != nil {
			t.Fatal(err)
		}
	}
}

// isFound wants a damage to be found by all who look, and by name.
func isFound(t *testing.T, s store.Store, id, object, did string) {
	t.Helper()
	_, damages, err := restore.Verify(patient(t), restore.Options{Store: s, ID: id}, t.TempDir())
	if err != nil {
		t.Fatalf("%s %s: %v", object, did, err)
	}
	named := func(d *backup.DamageError) bool {
		return d.Object == object || strings.HasSuffix(d.Object, "*") && strings.HasPrefix(object, strings.TrimSuffix(d.Object, "*"))
	}
	if !slices.ContainsFunc(damages, named) {
		t.Errorf("%s %s: found is %v", object, did, damages)
	}
	o := options(s, path.Join(t.TempDir(), "data"))
	o.ID = id
	if _, err := restore.Restore(patient(t), o); err == nil {
		t.Errorf("%s %s: it is restored", object, did)
	}
}

func TestEveryDamageOfEveryObjectIsFoundByName(t *testing.T) {
	s, id := someChains(t)
	all, err := s.List(patient(t), "")
	if err != nil {
		t.Fatal(err)
	}
	objects := slices.DeleteFunc(names(all), func(name string) bool { return !strings.HasPrefix(name, id) })
	if len(objects) < 5 {
		t.Fatalf("%d objects", len(objects))
	}
	for _, object := range objects {
		whole := read(t, s, object)
		for did, at := range map[string]int{"has a bit flipped at its begin": 0, "has a bit flipped in the middle": len(whole) / 2, "has a bit flipped at its end": len(whole) - 1} {
			changed := slices.Clone(whole)
			changed[at] ^= 1
			replace(t, s, object, changed)
			isFound(t, s, id, object, did)
		}
		replace(t, s, object, whole[:len(whole)-1])
		isFound(t, s, id, object, "is cut short")
		replace(t, s, object, []byte{})
		isFound(t, s, id, object, "is empty")
		replace(t, s, object, nil)
		isFound(t, s, id, object, "is missing")
		for _, other := range names(all) {
			if other == object {
				continue
			}
			if data := read(t, s, other); !bytes.Equal(data, whole) {
				replace(t, s, object, data)
				isFound(t, s, id, object, "is exchanged for "+other)
			}
		}
		replace(t, s, object, whole)
	}
	verified(t, s, id)
}

func TestADamagedChainIsRestoredUpToTheDamage(t *testing.T) {
	s, id := someChains(t)
	c, err := backup.Open(patient(t), s, id)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int64
	if err := c.ReadDeltas(patient(t), 1<<62, func(d *chain.Delta) error { ends = append(ends, d.Last); return nil }); err != nil {
		t.Fatal(err)
	}
	replace(t, s, chain.DeltaName(id, 2), nil)
	o := options(s, t.TempDir())
	o.ID, o.Revision = id, ends[0]
	if _, result := restored(t, o); result.Revision != ends[0] {
		t.Errorf("%+v, want revision %d", result, ends[0])
	}
	o.Dir, o.Revision = t.TempDir(), ends[0]+1
	if _, err := restore.Restore(patient(t), o); err == nil || !strings.Contains(err.Error(), chain.DeltaName(id, 2)) {
		t.Errorf("past the damage: %v", err)
	}
}

func TestAFollowerDoesNotGoOnFromADamage(t *testing.T) {
	c, s := startCluster(t), folder(t)
	f := follow(t, quick(c.config(t, s)))
	for i := range 3 {
		f.reaches(t, c.change(t, i))
	}
	f.mustEnd(t)
	old := newest(t, s)
	replace(t, s, chain.DeltaName(old.ID, 2), nil)
	f = follow(t, quick(c.config(t, s)))
	last := c.change(t, 4)
	status := f.reaches(t, last)
	f.mustEnd(t)
	if status.Begun != 1 || status.Chain == old.ID || verified(t, s, "").Revision != last {
		t.Errorf("it goes on with %+v", status)
	}
}
