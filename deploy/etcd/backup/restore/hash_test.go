package restore_test

import (
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/restore"
)

// TestAChainThatIsWholeAndTellsAnotherStoryIsFoundByHash changes what a delta tells, so that every object has its
// hash and names the right one before it. Only what the cluster said of itself shows it.
func TestAChainThatIsWholeAndTellsAnotherStoryIsFoundByHash(t *testing.T) {
	for what, change := range map[string]func(d *chain.Delta){
		"a value":          func(d *chain.Delta) { d.Events[0].Value = []byte("another") },
		"a key":            func(d *chain.Delta) { d.Events[0].Key = []byte("/another") },
		"a lease":          func(d *chain.Delta) { d.Events[0].Lease, d.Leases = 4711, []chain.Lease{{ID: 4711, TTL: 60}} },
		"an unknown lease": func(d *chain.Delta) { d.Events[0].Lease = 4711 },
		"a version":        func(d *chain.Delta) { d.Events[0].Version = 2 },
		"a deletion": func(d *chain.Delta) {
			d.Events[0] = chain.Event{Delete: true, Key: []byte("/none"), ModRevision: d.First}
		},
	} {
		c, s := startCluster(t), folder(t)
		config := quick(c.config(t, s))
		config.HashEvery = 1
		f := follow(t, config)
		f.reaches(t, 1) // the full backup has nothing
		if _, err := c.Put(patient(t), "/x", "1"); err != nil {
			t.Fatal(err)
		}
		last, err := c.Put(patient(t), "/y", "1")
		if err != nil {
			t.Fatal(err)
		}
		f.reaches(t, last.Header.Revision)
		f.mustEnd(t)
		whole := newest(t, s)
		previous := ""
		var deltas []*chain.Delta
		if err := whole.ReadDeltas(patient(t), 1<<62, func(d *chain.Delta) error { deltas = append(deltas, d); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(deltas) == 0 {
			t.Fatal("there is no delta")
		}
		for i, d := range deltas {
			if i == 0 {
				change(d)
				previous = d.Previous
			}
			d.Previous = previous
			data, err := d.Encode()
			if err != nil {
				t.Fatal(err)
			}
			previous = d.SHA256
			replace(t, s, chain.DeltaName(d.ID, d.Seq), data)
		}
		whole.Head.SHA256 = previous
		data, err := whole.Head.Encode()
		if err != nil {
			t.Fatal(err)
		}
		replace(t, s, chain.HeadName(whole.ID, whole.Head.Seq, whole.Head.Number), data)
		if damages, err := whole.Check(patient(t)); err != nil || len(damages) > 0 {
			t.Fatalf("%s: the objects alone show it: %v, %v", what, damages, err)
		}
		_, damages, err := restore.Verify(patient(t), restore.Options{Store: s}, t.TempDir())
		if t.Logf("%s: %v", what, damages); err != nil || len(damages) != 1 || !strings.HasPrefix(damages[0].Object, whole.ID+"/delta-") {
			t.Errorf("%s: %v, %v", what, damages, err)
		}
	}
}

// TestARevisionOfManyThousandEventsIsOne deletes more keys at once than a client could in one transaction.
func TestARevisionOfManyThousandEventsIsOne(t *testing.T) {
	const keys, atOnce = 20_000, 100
	c, s := startCluster(t), folder(t)
	ctx := patient(t)
	config := quick(c.config(t, s))
	config.MaxBytes = 64 << 10 // far less than the revision
	f := follow(t, config)
	f.reaches(t, 1)
	for i := 0; i < keys; i += atOnce {
		var ops []clientv3.Op
		for k := range atOnce {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("/%s/%06d", strings.Repeat("long", 25), i+k), "1"))
		}
		if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := c.Delete(ctx, "/", clientv3.WithPrefix())
	if err != nil || gone.Deleted != keys {
		t.Fatalf("%+v, %v", gone, err)
	}
	f.reaches(t, gone.Header.Revision)
	f.mustEnd(t)
	latest, err := backup.Latest(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if result := verified(t, s, latest.ID); result.Revision != gone.Header.Revision || result.Events != 2*keys || result.Keys != 0 {
		t.Errorf("%+v", result)
	}
}
