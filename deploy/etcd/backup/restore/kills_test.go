package restore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/restore"
	"gridrouter.io/deploy/etcd/backup/store"
)

// TestAKillAtAnyWriteLeavesChainsGood lets a follower make n writes and no more, for each n, once so that the
// next one does not take place and once so that only its answer is lost. Another follower then goes on.
func TestAKillAtAnyWriteLeavesChainsGood(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := range int64(12) {
			t.Run(fmt.Sprintf("%d, after %v", n, after), func(t *testing.T) {
				c, s := startCluster(t), folder(t)
				killed := &failing{Store: s, after: after}
				killed.left.Store(n)
				f := follow(t, quick(c.config(t, killed)))
				last := int64(0)
				for round := range 4 {
					last = c.change(t, round)
					testkit.Eventually(t, "it writes, or can no more", func() bool {
						status := f.status.Load()
						return killed.left.Load() < 0 || status != nil && status.Revision >= last
					})
				}
				_ = f.end() // what it says is of the store that fails
				for _, one := range all(t, s) {
					if damages, err := one.Check(patient(t)); one.Finished() && (err != nil || len(damages) > 0) {
						t.Errorf("after the kill: %v, %v", damages, err)
					}
				}
				f = follow(t, quick(c.config(t, s)))
				last = c.change(t, 5)
				f.reaches(t, last)
				f.mustEnd(t)
				if result := verified(t, s, ""); result.Revision != last || result.Compared == 0 {
					t.Errorf("%+v, want revision %d", result, last)
				}
				for _, one := range all(t, s) {
					if one.Finished() {
						verified(t, s, one.ID)
					}
				}
			})
		}
	}
}

func all(t *testing.T, s store.Store) []*backup.Chain {
	t.Helper()
	chains, err := backup.List(patient(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return chains
}

func TestAFollowerOutlivesAStoreThatIsAway(t *testing.T) {
	c, s := startCluster(t), folder(t)
	away := &failing{Store: s}
	away.left.Store(1 << 40)
	f := follow(t, quick(c.config(t, away)))
	f.reaches(t, c.change(t, 1))
	away.left.Store(0)
	last := c.change(t, 2)
	testkit.Eventually(t, "it says what is wrong", func() bool { return errors.Is(f.status.Load().Fault, errKilled) })
	away.left.Store(1 << 40)
	f.reaches(t, last)
	f.mustEnd(t)
	if verified(t, s, "").Revision != last || len(all(t, s)) != 1 {
		t.Error("the chain does not go on")
	}
}

func TestAFollowerThatCannotBeginSaysWhy(t *testing.T) {
	c := startCluster(t)
	if err := backup.Follow(patient(t), quick(c.config(t, &failing{Store: folder(t)}))); !errors.Is(err, errKilled) {
		t.Errorf("without a store: %v", err)
	}
	config := c.config(t, folder(t))
	config.Scratch = filepath.Join(t.TempDir(), "absent")
	if err := backup.Follow(patient(t), quick(config)); err == nil || !strings.Contains(err.Error(), "scratch") {
		t.Errorf("without a scratch folder: %v", err)
	}
}

func TestTwoFollowersDoNotMixTheirLinks(t *testing.T) {
	c, s := startCluster(t), folder(t)
	first := follow(t, quick(c.config(t, s)))
	first.reaches(t, c.change(t, 1))
	second := follow(t, quick(c.config(t, s)))
	round := 2
	testkit.Eventually(t, "one of them ends", func() bool {
		c.change(t, round)
		round++
		return len(first.ended) > 0 || len(second.ended) > 0
	})
	ended, goesOn := first, second
	if len(second.ended) > 0 {
		ended, goesOn = second, first
	}
	if err := ended.end(); !errors.Is(err, backup.ErrOther) {
		t.Errorf("it ends with %v", err)
	}
	_ = goesOn.end()
	f := follow(t, quick(c.config(t, s)))
	last := c.change(t, round)
	f.reaches(t, last)
	f.mustEnd(t)
	if verified(t, s, "").Revision != last {
		t.Error("the chain does not go on")
	}
}

// TestAFailedRestoreLeavesNothing has a restore fail after it has begun to build.
func TestAFailedRestoreLeavesNothing(t *testing.T) {
	c, s := startCluster(t), folder(t)
	f := follow(t, quick(c.config(t, s)))
	f.reaches(t, c.change(t, 1))
	f.mustEnd(t)
	id := newest(t, s).ID
	name := id + "/full.db"
	whole := read(t, s, name)
	changed := append([]byte{}, whole...)
	changed[len(changed)/2] ^= 1
	replace(t, s, name, changed)
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		before, _ := os.ReadDir(dir)
		if _, err := restore.Restore(patient(t), options(s, dir)); err == nil {
			t.Fatal("it is restored")
		}
		after, _ := os.ReadDir(dir)
		if diff := cmp.Diff(len(before), len(after)); diff != "" {
			t.Errorf("%s: %v is left", dir, after)
		}
	}
}
