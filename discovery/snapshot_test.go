package discovery

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sampleSnapshot returns a snapshot whose content says which one it is.
func sampleSnapshot(n int) (SnapshotHeader, []SnapshotSection) {
	header := SnapshotHeader{
		Format: 1, Of: "prefix /gridrouter/", Cluster: "abc", Revision: int64(n), Hash: "h" + strconv.Itoa(n),
		Tenants: 3, Written: time.Unix(int64(n), 0).UTC(), Router: "r1",
	}
	return header, []SnapshotSection{
		{"state", []byte(`{"n":` + strconv.Itoa(n) + `}`)},
		{"empty", []byte{}},
		{"tenants", bytes.Repeat([]byte{byte(n), 1, 2, 3}, 50)},
	}
}

// mustReadSnapshot reads the snapshot at path, else the previous one, and holds it to its sample.
func mustReadSnapshot(t *testing.T, path string) int {
	t.Helper()
	header, sections, err := ReadSnapshot(path)
	if errors.Is(err, fs.ErrNotExist) {
		header, sections, err = ReadSnapshot(PreviousSnapshot(path))
	}
	if err != nil {
		t.Fatal(err)
	}
	wantHeader, wantSections := sampleSnapshot(int(header.Revision))
	if header != wantHeader || !reflect.DeepEqual(sections, wantSections) {
		t.Fatalf("read %+v %q, want %+v %q", header, sections, wantHeader, wantSections)
	}
	return int(header.Revision)
}

func mustWriteSnapshot(t *testing.T, path string, n int) {
	t.Helper()
	header, sections := sampleSnapshot(n)
	if err := WriteSnapshot(path, header, sections); err != nil {
		t.Fatal(err)
	}
}

func TestASnapshotIsReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "r1.snap")
	for n := 1; n <= 3; n++ {
		mustWriteSnapshot(t, path, n)
		if got := mustReadSnapshot(t, path); got != n {
			t.Fatalf("read number %d, want %d", got, n)
		}
	}
	if got := mustReadSnapshot(t, PreviousSnapshot(path)); got != 2 {
		t.Fatalf("the previous one is number %d, want 2", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(names) != 2 {
		t.Fatalf("files %v, %v; want the snapshot and the previous one", names, err)
	}
}

func TestASnapshotCutShortAnywhereIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r1.snap")
	mustWriteSnapshot(t, path, 1)
	whole := mustReadFile(t, path)
	for size := range whole {
		if _, _, err := parseSnapshot(whole[:size]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: %v", size, len(whole), err)
		}
	}
	if _, _, err := parseSnapshot(append(bytes.Clone(whole), 0)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("one byte more: %v", err)
	}
}

func TestAFlippedBitAnywhereIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r1.snap")
	mustWriteSnapshot(t, path, 1)
	data := mustReadFile(t, path)
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if _, _, err := parseSnapshot(data); err == nil {
				t.Fatalf("bit %d of byte %d of %d flipped, and nothing found", bit, i, len(data))
			}
			data[i] ^= 1 << bit
		}
	}
}

func mustReadFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAFolderThatCannotBeWrittenIsToldAndNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r1.snap")
	mustWriteSnapshot(t, path, 1)
	header, sections := sampleSnapshot(2)
	if err := WriteSnapshot(filepath.Join(path, "under-a-file"), header, sections); err == nil {
		t.Fatal("a snapshot under a file was written")
	}
	if err := os.Mkdir(path+".new", 0o700); err != nil { // in the way of what is written aside
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path+".new", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteSnapshot(path, header, sections); err == nil {
		t.Fatal("a snapshot was written through a folder in its way")
	}
	if got := mustReadSnapshot(t, path); got != 1 {
		t.Fatalf("read number %d, want the first", got)
	}
}

// TestAFullDiskKeepsTheLastSnapshot lets a child write with a limit on the size of files,
// at which writes fail as they do on a full disk.
func TestAFullDiskKeepsTheLastSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r1.snap")
	mustWriteSnapshot(t, path, 1)
	out, err := snapshotChild(t, "full", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "file too large") {
		t.Fatalf("the child: %v, %s", err, out)
	}
	if got := mustReadSnapshot(t, path); got != 1 {
		t.Fatalf("read number %d, want the first", got)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a part of a snapshot is left: %v", err)
	}
}

// TestAKilledWriterLeavesASnapshot kills a child that writes one snapshot after the other,
// at random moments.
func TestAKilledWriterLeavesASnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r1.snap")
	mustWriteSnapshot(t, path, 1)
	for range 25 {
		child := snapshotChild(t, "loop", path)
		from := mustReadSnapshot(t, path)
		child.Env = append(child.Env, "SNAPSHOT_FROM="+strconv.Itoa(from))
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(20 * time.Second) // no testkit.Eventually: the child is killed before the test may fail
		for mustReadSnapshot(t, path) < from+2 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond) // anywhere in a round
		if err := child.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		if got := mustReadSnapshot(t, path); got < from+2 {
			t.Fatalf("after the kill number %d is read, want %d or a later one", got, from+2)
		}
	}
}

// snapshotChild returns this test binary, as a writer of snapshots.
func snapshotChild(t *testing.T, mode, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSnapshotChild$", "-test.v")
	cmd.Env = append(os.Environ(), "SNAPSHOT_CHILD="+mode, "SNAPSHOT_PATH="+path)
	return cmd
}

// TestSnapshotChild is no test but the child of the tests above.
func TestSnapshotChild(t *testing.T) {
	path := os.Getenv("SNAPSHOT_PATH")
	switch os.Getenv("SNAPSHOT_CHILD") {
	case "loop":
		from, err := strconv.Atoi(os.Getenv("SNAPSHOT_FROM"))
		if err != nil {
			t.Fatal(err)
		}
		for n := from + 1; n < from+100_000; n++ {
			mustWriteSnapshot(t, path, n)
		}
	case "full":
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 300, Max: 300}); err != nil {
			t.Fatal(err)
		}
		header, sections := sampleSnapshot(2)
		if err := WriteSnapshot(path, header, sections); err == nil {
			t.Fatal("a snapshot was written past the limit")
		} else {
			fmt.Println(err)
		}
	default:
		t.Skip("it is the child of other tests")
	}
}

// FuzzSnapshotsAreReadOrRefused: whatever a file holds, reading it ends in a snapshot or an
// error, and what is read is written the same.
func FuzzSnapshotsAreReadOrRefused(f *testing.F) {
	header, sections := sampleSnapshot(1)
	head, err := frameHeader(header, sections)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		header, sections, err := parseSnapshot(data)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "s")
		if err := WriteSnapshot(path, header, sections); err != nil {
			t.Fatal(err)
		}
		again, _, err := ReadSnapshot(path)
		if err != nil || again.Revision != header.Revision {
			t.Fatalf("%v: %+v, want %+v", err, again, header)
		}
	})
}
