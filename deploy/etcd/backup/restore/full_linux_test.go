package restore_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/restore"
	"gridrouter.io/deploy/etcd/backup/store"
)

// small is a volume of a MiB.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("this machine lets nobody mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullVolumeIsSaidAndKeepsNothing(t *testing.T) {
	c := startCluster(t)
	for _, key := range []string{"a", "b", "c"} {
		if _, err := c.Put(patient(t), key, strings.Repeat(key, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	full := small(t)
	s, err := store.OpenFolder(full)
	if err != nil {
		t.Fatal(err)
	}
	empty := func(what, dir string) {
		t.Helper()
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", what, left, err)
		}
	}
	if _, err := backup.Take(patient(t), c.config(t, s)); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a full store: %v", err)
	}
	if chains := all(t, s); len(chains) > 0 {
		t.Errorf("%v is left", chains)
	}
	roomy := folder(t)
	config := c.config(t, roomy)
	config.Scratch = small(t)
	if _, err := backup.Take(patient(t), config); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "scratch") {
		t.Errorf("a full scratch folder: %v", err)
	}
	empty("scratch", config.Scratch)
	if chains := all(t, roomy); len(chains) > 0 {
		t.Errorf("%v is left", chains)
	}
	if _, err := backup.Take(patient(t), c.config(t, roomy)); err != nil {
		t.Fatal(err)
	}
	target := small(t)
	if _, err := restore.Restore(patient(t), options(roomy, target)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full target: %v", err)
	}
	empty("target", target)
	if _, _, err := restore.Verify(patient(t), restore.Options{Store: roomy}, target); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("verify in a full scratch folder: %v", err)
	}
	empty("scratch of verify", target)
}
