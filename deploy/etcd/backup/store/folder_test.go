package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gridrouter.io/deploy/etcd/backup/store"
)

func folder(t testing.TB, dir string) *store.Folder {
	t.Helper()
	s, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHalvesOfTheDeadAreSwept(t *testing.T) {
	dir := t.TempDir()
	s := folder(t, dir)
	left := filepath.Join(dir, "a", ".unfinished-1")
	if err := os.MkdirAll(filepath.Dir(left), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := patient(t)
	if listed, err := s.List(ctx, ""); err != nil || len(listed) > 0 {
		t.Errorf("%v, %v", listed, err)
	}
	if n, err := s.Sweep(ctx, time.Now().Add(-time.Hour)); err != nil || n != 0 {
		t.Errorf("a young one: %d, %v", n, err)
	}
	if n, err := s.Sweep(ctx, time.Now().Add(time.Hour)); err != nil || n != 1 {
		t.Errorf("an old one: %d, %v", n, err)
	}
}

func TestErrorsOfFoldersSayWhichTheyAre(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	if _, err := store.OpenFolder(dir); !errors.Is(err, store.ErrNoBucket) {
		t.Errorf("not there: %v", err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenFolder(dir); !errors.Is(err, store.ErrNoBucket) {
		t.Errorf("a file: %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := folder(t, dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	wants(t, s, store.ErrNoBucket)
}
