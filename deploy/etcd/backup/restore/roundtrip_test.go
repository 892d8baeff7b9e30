package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/restore"
)

func TestAChainIsEqualToItsClusterByHash(t *testing.T) {
	c, s := startCluster(t), folder(t)
	c.change(t, 1)
	f := follow(t, quick(c.config(t, s)))
	var last int64
	for round := 2; round < 9; round++ {
		last = c.change(t, round)
		f.reaches(t, last)
		if round == 5 { // superseded values go, and hashes are of what is left
			if _, err := c.Compact(patient(t), last-3, clientv3.WithCompactPhysical()); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.mustEnd(t)
	result := verified(t, s, "")
	if result.Revision != last || result.Deltas == 0 || result.Compared < 3 || result.Incomparable > 0 {
		t.Errorf("verified %+v, want revision %d", result, last)
	}
	if head := newest(t, s).Head; head.HashKV == nil || head.HashKV.Hash != c.hash(t, last).Hash {
		t.Errorf("the last head %+v does not have the cluster's hash", head)
	}
}

func TestARestoreHasEveryKeyOfTheNewestRevision(t *testing.T) {
	c, s := startCluster(t), folder(t)
	c.change(t, 1)
	f := follow(t, quick(c.config(t, s)))
	last := c.change(t, 2)
	f.reaches(t, last)
	f.mustEnd(t)
	want := pairs(t, c.Client, 0)
	t.Run("in place", func(t *testing.T) {
		c.server.Stop()
		if err := os.RemoveAll(c.server.Dir); err != nil {
			t.Fatal(err)
		}
		if _, err := restore.Restore(patient(t), options(s, c.server.Dir)); err != nil {
			t.Fatal(err)
		}
		c.server.Restart(t)
		if diff := cmp.Diff(want, pairs(t, c.Client, 0)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("into a new cluster", func(t *testing.T) {
		other, result := restored(t, options(s, filepath.Join(t.TempDir(), "new", "data")))
		if diff := cmp.Diff(want, pairs(t, other.Client, 0)); diff != "" || result.Revision != last {
			t.Errorf("%+v: %s", result, diff)
		}
	})
}

func TestARestoreToARevisionInTheMiddleHasWhatWasThere(t *testing.T) {
	c, s := startCluster(t), folder(t)
	first := c.change(t, 1)
	f := follow(t, quick(c.config(t, s)))
	f.reaches(t, first)
	last := c.change(t, 2)
	f.reaches(t, last)
	f.mustEnd(t)
	for _, revision := range []int64{first, first + 1, first + 9, last - 2, last} {
		o := options(s, t.TempDir())
		o.Revision = revision
		other, result := restored(t, o)
		if diff := cmp.Diff(pairs(t, c.Client, revision), pairs(t, other.Client, 0)); diff != "" || result.Revision != revision {
			t.Errorf("revision %d: %+v: %s", revision, result, diff)
		}
		if _, err := other.Put(patient(t), "x", "1"); err != nil {
			t.Error(err)
		}
		other.server.Stop()
	}
	for _, revision := range []int64{first - 1, last + 1} {
		o := options(s, filepath.Join(t.TempDir(), "data"))
		o.Revision = revision
		if _, err := restore.Restore(patient(t), o); err == nil {
			t.Errorf("revision %d, which no backup has, is restored", revision)
		}
		if _, err := os.Stat(o.Dir); !os.IsNotExist(err) {
			t.Errorf("a failed restore leaves its folder: %v", err)
		}
	}
}

func TestARestoreIsAboveAllThatWasSeen(t *testing.T) {
	c, s := startCluster(t), folder(t)
	middle := c.change(t, 1)
	f := follow(t, quick(c.config(t, s)))
	f.reaches(t, middle)
	f.reaches(t, c.change(t, 2))
	f.mustEnd(t)
	old := c.change(t, 3) // no backup saw it
	o := options(s, t.TempDir())
	o.Revision, o.Seen = middle, old
	other, result := restored(t, o)
	if result.NewRevision != old+restore.DefaultBump {
		t.Errorf("%+v, want %d above %d", result, restore.DefaultBump, old)
	}
	for _, revision := range []int64{2, middle, middle + 1, old, old + 1, result.NewRevision - 1} {
		ctx, stop := context.WithCancel(patient(t))
		answer := <-other.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(revision))
		stop()
		if !errors.Is(answer.Err(), rpctypes.ErrCompacted) || answer.CompactRevision != result.NewRevision {
			t.Errorf("a watcher at revision %d is told %v, compacted to %d", revision, answer.Err(), answer.CompactRevision)
		}
	}
	written, err := other.Put(patient(t), "new", "1")
	if err != nil || written.Header.Revision != result.NewRevision+1 {
		t.Errorf("the first write has revision %v (%v), want one above %d", written, err, result.NewRevision)
	}
	// What follows a restored cluster sees that it was one, and begins anew.
	again := follow(t, quick(other.config(t, s)))
	status := again.reaches(t, written.Header.Revision)
	again.mustEnd(t)
	if status.Begun != 1 || verified(t, s, "").Revision != written.Header.Revision {
		t.Errorf("after a restore the follower goes on with %+v", status)
	}
}

func TestLeasesOfRestoredKeysEndThem(t *testing.T) {
	c, s := startCluster(t), folder(t)
	ctx := patient(t)
	f := follow(t, quick(c.config(t, s)))
	short, err := c.Grant(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	long, err := c.Grant(ctx, 3600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "/short", "1", clientv3.WithLease(short.ID)); err != nil {
		t.Fatal(err)
	}
	last, err := c.Put(ctx, "/long", "1", clientv3.WithLease(long.ID))
	if err != nil {
		t.Fatal(err)
	}
	f.reaches(t, last.Header.Revision)
	f.mustEnd(t)
	o := options(s, t.TempDir())
	o.Revision = last.Header.Revision
	other, _ := restored(t, o)
	testkit.Eventually(t, "the key of the short lease goes", func() bool {
		all := pairs(t, other.Client, 0)
		return all["/short"] == "" && all["/long"] != ""
	})
	if left, err := other.TimeToLive(ctx, long.ID, clientv3.WithAttachedKeys()); err != nil || left.GrantedTTL != 3600 || len(left.Keys) != 1 {
		t.Errorf("the long lease is %+v, %v", left, err)
	}
}

func TestBackupsAreWholeWhileOthersWrite(t *testing.T) {
	c, s := startCluster(t), folder(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var written atomic.Int64
	done := make(chan error, 1)
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			answer, err := c.Txn(ctx).Then(clientv3.OpPut(fmt.Sprintf("/w/%03d", i%500), fmt.Sprint(i)), clientv3.OpPut("/count", fmt.Sprint(i))).Commit()
			if err != nil {
				break
			}
			written.Store(answer.Header.Revision)
		}
		done <- nil
	}()
	testkit.Eventually(t, "something is written", func() bool { return written.Load() > 50 })
	config := quick(c.config(t, s))
	config.MaxBytes = 4 << 10
	f := follow(t, config)
	for range 3 {
		f.reaches(t, written.Load()+20)
		if _, err := backup.Take(patient(t), c.config(t, s)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	<-done
	f.reaches(t, written.Load())
	f.mustEnd(t)
	chains, err := backup.List(patient(t), s)
	if err != nil || len(chains) != 4 {
		t.Fatalf("%d chains, %v", len(chains), err)
	}
	for _, one := range chains {
		result := verified(t, s, one.ID)
		if result.Compared == 0 {
			t.Errorf("%s: no hash was compared: %+v", one.ID, result)
		}
	}
	if latest, err := backup.Latest(patient(t), s); err != nil || verified(t, s, latest.ID).Revision < written.Load() {
		t.Errorf("the latest chain %+v does not have the acknowledged revision %d (%v)", latest, written.Load(), err)
	}
}

func TestACompactionPastTheEndBeginsANewChain(t *testing.T) {
	c, s := startCluster(t), folder(t)
	c.change(t, 1)
	f := follow(t, quick(c.config(t, s)))
	f.reaches(t, c.change(t, 2))
	f.mustEnd(t)
	last := c.change(t, 3)
	if _, err := c.Compact(patient(t), last, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	again := follow(t, quick(c.config(t, s)))
	last = c.change(t, 4)
	status := again.reaches(t, last)
	again.mustEnd(t)
	chains, err := backup.List(patient(t), s)
	if err != nil || len(chains) != 2 || status.Begun != 1 {
		t.Fatalf("%d chains (%v), and the follower says %+v", len(chains), err, status)
	}
	for _, one := range chains {
		verified(t, s, one.ID)
	}
}

func TestAClusterOfAnotherIDIsNotAddedToAChain(t *testing.T) {
	one, other, s := startCluster(t), startCluster(t), folder(t)
	f := follow(t, quick(one.config(t, s)))
	f.reaches(t, one.change(t, 1))
	f.mustEnd(t)
	other.change(t, 1)
	f = follow(t, quick(other.config(t, s)))
	f.reaches(t, other.change(t, 2))
	f.mustEnd(t)
	chains, err := backup.List(patient(t), s)
	if err != nil || len(chains) != 2 || chains[0].Manifest.Cluster == chains[1].Manifest.Cluster {
		t.Fatalf("%d chains, %v", len(chains), err)
	}
}

func TestATargetThatIsNotEmptyIsRefused(t *testing.T) {
	c, s := startCluster(t), folder(t)
	c.change(t, 1)
	if _, err := backup.Take(patient(t), c.config(t, s)); err != nil {
		t.Fatal(err)
	}
	o := options(s, t.TempDir())
	kept := filepath.Join(o.Dir, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restore.Restore(patient(t), o); err == nil {
		t.Error("it is restored over")
	}
	if err := os.Remove(kept); err != nil {
		t.Fatal(err)
	}
	// What was killed, and a file system's own, are no obstacle.
	for _, dir := range []string{".gridrouter-restoring-1", "lost+found"} {
		if err := os.Mkdir(filepath.Join(o.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	restored(t, o)
	left, err := os.ReadDir(o.Dir)
	if err != nil || len(left) != 2 || left[0].Name() != "lost+found" || left[1].Name() != "member" {
		t.Errorf("%v, %v", left, err)
	}
}
