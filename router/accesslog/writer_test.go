package accesslog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gridrouter.io/bench/testkit"
)

// atOnce runs f, which may not wait for whoever takes the log.
func atOnce(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: it waits", what)
	}
}

func newFIFO(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// readFIFO opens a pipe to read, as a process would that reads the log.
func readFIFO(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// nextLine opens a pipe to read, and waits for a line. It stays open.
func nextLine(t *testing.T, name string, want string) *os.File {
	t.Helper()
	file := readFIFO(t, name)
	var text []byte
	testkit.Eventually(t, want+" is read", func() bool {
		piece := make([]byte, 4096)
		n, _ := file.Read(piece) // while there is no writer it is at its end, and goes on later
		text = append(text, piece[:n]...)
		return strings.Contains("\n"+string(text), "\n"+want+"\n")
	})
	return file
}

func TestALogMayBeAPipeWhoseReaderComesAndGoes(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	name := newFIFO(t)
	var l *Log
	atOnce(t, "opening a pipe that nobody reads", func() {
		l = openLog(t, Config{File: name, Rate: 1, Logger: zap.New(core)})
	})
	l.Write(0, []byte("before\n"))
	testkit.Eventually(t, "it says that nobody reads", func() bool {
		return logs.FilterMessageSnippet("nobody reads the pipe").Len() == 1
	})
	if l.lines.Load() != 0 {
		t.Fatalf("%d lines count as written, and nobody has read one", l.lines.Load())
	}
	reader := nextLine(t, name, "before")
	testkit.Eventually(t, "the line counts", func() bool { return l.lines.Load() == 1 })
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it notices that the reader has left", func() bool {
		l.Write(1, []byte("nobody reads this\n"))
		return logs.FilterMessageSnippet("nobody reads the pipe").Len() == 2
	})
	l.Write(2, []byte("after\n"))
	nextLine(t, name, "after")
	atOnce(t, "closing", l.Close)
}

func TestAReaderThatStopsHoldsUpNobody(t *testing.T) {
	big := strings.Repeat("x", 64<<10) + "\n" // one of these is more than the pipe takes beside another
	blocked := func(t *testing.T) (l *Log, name string) {
		t.Helper()
		name = newFIFO(t)
		readFIFO(t, name) // and never reads
		l = openLog(t, Config{File: name, Rate: 1})
		testkit.Eventually(t, "the writer waits for the reader", func() bool {
			l.Write(0, []byte(big))
			return l.slow.Load() > 0 // nothing has left the lane for a while
		})
		return l, name
	}
	t.Run("closing", func(t *testing.T) {
		l, _ := blocked(t)
		atOnce(t, "closing", l.Close)
		if l.failed.Load() == 0 {
			t.Error("what was not written counts as nothing")
		}
	})
	t.Run("opening the same anew", func(t *testing.T) {
		l, _ := blocked(t)
		atOnce(t, "opening anew", func() {
			if err := l.Reopen(); err != nil {
				t.Error(err)
			}
		})
		atOnce(t, "closing", l.Close)
	})
	t.Run("opening a file in its place", func(t *testing.T) {
		l, name := blocked(t)
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
		atOnce(t, "opening anew", func() {
			if err := l.Reopen(); err != nil {
				t.Error(err)
			}
		})
		atOnce(t, "closing", l.Close)
		text, err := os.ReadFile(name)
		if err != nil || len(text) == 0 || strings.ReplaceAll(string(text), big, "") != "" {
			t.Errorf("the file holds %d bytes, not whole lines: %v", len(text), err)
		}
		if got := uint64(len(text) / len(big)); l.lines.Load() < got || l.failed.Load() != 0 {
			t.Errorf("%d lines counted, %d lost; the file holds %d", l.lines.Load(), l.failed.Load(), got)
		}
	})
}

// stuck takes nothing until it is released.
type stuck struct{ released chan struct{} }

func (s *stuck) Write(p []byte) (int, error) {
	<-s.released
	return len(p), nil
}

func TestAnOutputThatTakesNothingHoldsUpNobody(t *testing.T) {
	out := &stuck{make(chan struct{})}
	l, err := Open(Config{Output: out, Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.Write(0, []byte("x\n"))
	atOnce(t, "opening anew", func() {
		if err := l.Reopen(); err != nil {
			t.Error(err)
		}
	})
	atOnce(t, "closing", l.Close)
	if l.lines.Load() != 0 {
		t.Error("a line counts as written")
	}
	close(out.released)
	<-l.done
}

func TestWhatCannotBeALogIsRefused(t *testing.T) {
	dir := t.TempDir()
	f := func(file string, taken bool) {
		t.Helper()
		atOnce(t, file, func() {
			l, err := Open(Config{File: file, Rate: 1})
			if (err == nil) != taken {
				t.Errorf("%s: %v", file, err)
			}
			if err == nil {
				l.Close()
			}
		})
	}
	f(dir, false)
	f(filepath.Join(dir, "nowhere", "log"), false)
	f("/dev/null", true)
	f("/dev/full", true)
	f(filepath.Join(dir, "log"), true)
	f(newFIFO(t), true)
}

func TestLinesCountAsWrittenOnlyWhenTheyAre(t *testing.T) {
	l := openLog(t, Config{File: "/dev/full", Rate: 1})
	for range 10 {
		l.Write(0, []byte("x\n"))
	}
	testkit.Eventually(t, "the lines are lost", func() bool { return l.failed.Load() == 10 })
	if l.lines.Load() != 0 || l.slow.Load() != 0 {
		t.Fatalf("%d written, %d too slow", l.lines.Load(), l.slow.Load())
	}
}

// short takes so many bytes in all, and fails from then on.
type short struct {
	text   []byte
	room   int
	silent bool // it tells of no error
}

func (s *short) Write(p []byte) (int, error) {
	n := min(len(p), s.room-len(s.text))
	s.text = append(s.text, p[:n]...)
	if n < len(p) && !s.silent {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func TestWrittenAndLostLinesAddUpWhereverADiskIsFull(t *testing.T) {
	const batch = "one\ntwo\nthree\n"
	for room := range len(batch) + 2 {
		for _, silent := range []bool{false, true} {
			out := &short{room: room, silent: silent}
			l := &Log{cfg: Config{Logger: zap.NewNop()}, lanes: make([]lane, 1), out: out, turn: 1}
			l.writeOut([]byte(batch))
			whole := strings.Count(batch[:min(room, len(batch))], "\n")
			if got, lost := l.lines.Load(), l.failed.Load(); got != uint64(whole) || got+lost != 3 {
				t.Errorf("room for %d: %d written, %d lost, want %d and %d", room, got, lost, whole, 3-whole)
			}
			out.room = 100 // there is room again
			l.writeOut([]byte("four\n"))
			if !strings.HasSuffix("\n"+string(out.text), "\nfour\n") {
				t.Errorf("room for %d: %q: the line after is not one of its own", room, out.text)
			}
			if l.lines.Load() != uint64(whole)+1 {
				t.Errorf("room for %d: the line after does not count", room)
			}
		}
	}
}

// contrary returns what no writer should.
type contrary struct{ n int }

func (c contrary) Write([]byte) (int, error) { return c.n, errors.New("out of order") }

func TestAnOutputThatMiscountsBreaksNothing(t *testing.T) {
	for _, n := range []int{-1, 0, 1000} {
		l := &Log{cfg: Config{Logger: zap.NewNop()}, lanes: make([]lane, 1), out: contrary{n}, turn: 1}
		l.writeOut([]byte("x\n"))
		if l.lines.Load()+l.failed.Load() != 1 {
			t.Errorf("%d: %d written, %d lost", n, l.lines.Load(), l.failed.Load())
		}
	}
}

func TestOpeningAnewWhileLinesAreWrittenLosesNone(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "log")
	l := openLog(t, Config{File: name, Rate: 1})
	const rounds, each = 20, 50
	for round := range rounds {
		for i := range each {
			l.Write(i%len(l.lanes), fmt.Appendf(nil, "%d-%d\n", round, i))
		}
		if round%2 == 0 {
			l.flush(nil)
		}
		if err := os.Rename(name, fmt.Sprintf("%s.%d", name, round)); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	total := 0
	names, err := filepath.Glob(name + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range names {
		in, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		_ = in.Close()
		if err != nil {
			t.Fatal(err)
		}
		total += strings.Count(string(text), "\n")
	}
	if total != rounds*each || l.lines.Load() != rounds*each {
		t.Fatalf("%d lines in files, %d counted; want %d", total, l.lines.Load(), rounds*each)
	}
}
