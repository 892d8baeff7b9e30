package files

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for what ought to happen at once.
const patience = 30 * time.Second

// atOnce runs f, which may not wait for anything.
func atOnce(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: it waits", what)
	}
}

// kinds makes one of each kind of file, and returns their names.
func kinds(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return map[string]string{"file": at("file"), "link": at("link"), "fifo": at("fifo"), "socket": at("socket"), "folder": dir,
		"missing": at("missing"), "in a missing folder": at("nowhere/x"), "null": os.DevNull, "zero": "/dev/zero", "full": "/dev/full"}
}

func TestNoKindOfFileMakesAReaderWait(t *testing.T) {
	names := kinds(t)
	f := func(kind, want string, wantErr error) {
		t.Helper()
		atOnce(t, kind, func() {
			data, err := Read(names[kind], 100)
			if string(data) != want || !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
				t.Errorf("%s: got %q, %v; want %q, %v", kind, data, err, want, wantErr)
			}
			if err != nil && !strings.Contains(err.Error(), names[kind]) {
				t.Errorf("%s: %v does not name it", kind, err)
			}
		})
	}
	f("file", "text", nil)
	f("link", "text", nil)
	f("fifo", "", ErrNotRegular)
	f("socket", "", syscall.ENXIO)
	f("folder", "", ErrNotRegular)
	f("missing", "", fs.ErrNotExist)
	f("in a missing folder", "", fs.ErrNotExist)
	f("null", "", ErrNotRegular)
	f("zero", "", ErrNotRegular)
	if _, err := Read(names["file"], 3); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file beyond the limit: %v", err)
	}
	if data, err := Read(names["file"], 4); string(data) != "text" || err != nil {
		t.Errorf("a file at the limit: %q, %v", data, err)
	}
}

func TestTheHeadOfAFileIsReadWithItsSize(t *testing.T) {
	names := kinds(t)
	f := func(kind string, limit int64, want string, wantErr error) {
		t.Helper()
		atOnce(t, kind, func() {
			head, size, err := Head(names[kind], limit)
			if string(head) != want || !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) || err == nil && size != 4 {
				t.Errorf("%s: got %q of %d bytes, %v; want %q, %v", kind, head, size, err, want, wantErr)
			}
		})
	}
	f("file", 2, "te", nil)
	f("file", 100, "text", nil)
	f("fifo", 100, "", ErrNotRegular)
	f("socket", 100, "", syscall.ENXIO)
	f("folder", 100, "", ErrNotRegular)
	f("missing", 100, "", fs.ErrNotExist)
	f("zero", 100, "", ErrNotRegular)
}

func TestPipesAreReadOnceAndForSoLong(t *testing.T) {
	names := kinds(t)
	f := func(kind, want string, limit int64, wantErr error) {
		t.Helper()
		atOnce(t, kind, func() {
			data, err := ReadPiped(names[kind], limit, 10*time.Millisecond)
			if wantErr == nil && (string(data) != want || err != nil) || !errors.Is(err, wantErr) {
				t.Errorf("%s: got %q, %v; want %q, %v", kind, data, err, want, wantErr)
			}
		})
	}
	f("file", "text", 4, nil)
	f("fifo", "", 100, nil) // nobody writes
	f("null", "", 100, nil)
	f("zero", "", 100, ErrTooLarge)
	f("folder", "", 100, ErrNotRegular)
	f("socket", "", 100, syscall.ENXIO)
	f("missing", "", 100, fs.ErrNotExist)

	writer, err := os.OpenFile(names["fifo"], os.O_RDWR, 0) // a writer that is silent, and stays
	if err != nil {
		t.Fatal(err)
	}
	f("fifo", "", 100, os.ErrDeadlineExceeded)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("piped"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names["shell"] = filepath.Join("/proc/self/fd", strconv.Itoa(int(r.Fd())))
	f("shell", "piped", 100, nil)
}

func TestNoKindOfFileMakesAWriterWait(t *testing.T) {
	names := kinds(t)
	f := func(kind string, wantErr error) {
		t.Helper()
		atOnce(t, kind, func() {
			file, err := Append(names[kind], 0o600)
			if !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
				t.Errorf("%s: got %v, want %v", kind, err, wantErr)
			}
			if err == nil {
				_ = file.Close()
			}
		})
	}
	f("file", nil)
	f("link", nil)
	f("missing", nil)
	f("null", nil)
	f("full", nil)
	f("fifo", ErrNoReader)
	f("socket", syscall.ENXIO)
	f("folder", syscall.EISDIR)
	f("in a missing folder", fs.ErrNotExist)
}

func TestAWriterWhoseReaderStopsIsEndedByClosing(t *testing.T) {
	names := kinds(t)
	reader, err := os.OpenFile(names["fifo"], os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	file, err := Append(names["fifo"], 0o600)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan int, 1)
	go func() {
		n, _ := file.Write(make([]byte, 8<<20)) // more than any pipe holds
		written <- n
	}()
	first := make([]byte, 1)
	for {
		if n, _ := reader.Read(first); n > 0 { // from now on the writer has begun
			break
		}
	}
	atOnce(t, "closing", func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case n := <-written:
		if n >= 8<<20 {
			t.Errorf("%d bytes went into a pipe that nobody reads", n)
		}
	case <-time.After(patience):
		t.Fatal("it still writes")
	}
}

func TestAPairIsOfRegularFiles(t *testing.T) {
	names := kinds(t)
	for _, pair := range [][2]string{{"fifo", "file"}, {"file", "fifo"}, {"missing", "file"}, {"file", "file"}} {
		atOnce(t, pair[0]+" and "+pair[1], func() {
			if _, err := ReadPair(names[pair[0]], names[pair[1]], 100); err == nil {
				t.Errorf("%v is taken for a pair", pair)
			}
		})
	}
}
