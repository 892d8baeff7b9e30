package store_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"gridrouter.io/deploy/etcd/backup/store"
)

func TestAFullVolumeIsSaidAndKeepsNothingHalf(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("this machine lets nobody mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s, ctx := folder(t, dir), patient(t)
	small := make([]byte, 200<<10)
	if err := store.PutBytes(ctx, s, "a/small", small); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(ctx, "a/large", bytes.NewReader(make([]byte, 2<<20)), -1); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a full volume: %v", err)
	}
	if listed, err := s.List(ctx, ""); err != nil || len(listed) != 1 || listed[0].Name != "a/small" {
		t.Errorf("%v, %v", listed, err)
	}
	if n, err := s.Sweep(ctx, time.Now().Add(time.Hour)); err != nil || n != 0 {
		t.Errorf("%d halves are left, %v", n, err)
	}
	if err := store.PutBytes(ctx, s, "a/small2", small); err != nil {
		t.Errorf("there is room for this one: %v", err)
	}
}

func TestAFolderOfAnotherUserIsForbidden(t *testing.T) {
	if os.Getuid() == 0 {
		dir := t.TempDir()
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_RDONLY, "size=64k"); err != nil {
			t.Skipf("root may do all, and this machine lets nobody mount: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		if err := folder(t, dir).Put(patient(t), "a/b", bytes.NewReader(nil), 0); !errors.Is(err, store.ErrForbidden) {
			t.Errorf("a volume that is read only: %v", err)
		}
		return
	}
	dir := t.TempDir()
	s := folder(t, dir)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(patient(t), "a/b", bytes.NewReader(nil), 0); !errors.Is(err, store.ErrForbidden) {
		t.Errorf("a folder that nobody may write in: %v", err)
	}
}
