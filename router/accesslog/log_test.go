package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gridrouter.io/bench/testkit"
)

// sheet takes lines.
type sheet struct {
	mu     sync.Mutex
	text   bytes.Buffer
	broken bool
}

func (s *sheet) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return 0, errors.New("no room")
	}
	return s.text.Write(p)
}

func openLog(t *testing.T, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestAShareOfRequestsIsLogged(t *testing.T) {
	out := &sheet{}
	l := openLog(t, Config{Output: out, Rate: 0.5})
	wanted := 0
	for range 2000 {
		if l.Wants() {
			wanted++
		}
	}
	if wanted < 850 || wanted > 1150 {
		t.Fatalf("%d of 2000", wanted)
	}
	if none := openLog(t, Config{Output: out, Rate: 0}); none.Wants() {
		t.Fatal("a rate of 0 wants lines")
	}
	if _, err := Open(Config{Output: out, Rate: 2}); err == nil {
		t.Fatal("a rate of 2 is taken")
	}
}

func TestTheLogIsReopenedWhereItIs(t *testing.T) {
	dir := t.TempDir()
	name, moved := filepath.Join(dir, "access.log"), filepath.Join(dir, "access.log.1")
	l := openLog(t, Config{File: name, Rate: 1})
	holds := func(file, want string) {
		t.Helper()
		testkit.Eventually(t, file+" holds "+want, func() bool {
			text, err := os.ReadFile(file)
			return err == nil && string(text) == want
		})
	}
	l.Write(0, []byte("one\n"))
	holds(name, "one\n")
	if err := os.Rename(name, moved); err != nil {
		t.Fatal(err)
	}
	l.Write(1, []byte("two\n"))
	holds(moved, "one\ntwo\n")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Write(0, []byte("three\n"))
	l.Close() // writes what is left
	holds(name, "three\n")
	if _, err := Open(Config{File: dir, Rate: 1}); err == nil {
		t.Fatal("a folder is taken for a file")
	}
}

func TestLinesThatCannotBeWrittenAreToldOfOnce(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	out := &sheet{broken: true}
	l := openLog(t, Config{Output: out, Rate: 1, Logger: zap.New(core)})
	for range 3 {
		l.Write(0, []byte("x\n"))
		l.flush(nil)
	}
	out.mu.Lock()
	out.broken = false
	out.mu.Unlock()
	l.Write(0, []byte("y\n"))
	l.flush(nil)
	testkit.Eventually(t, "it tells of both changes", func() bool { return logs.Len() == 2 })
}

func TestLinesAreDroppedRatherThanHeldWithoutEnd(t *testing.T) {
	l := &Log{wake: make(chan struct{}, 1), lanes: make([]lane, 1)} // nobody writes
	line := bytes.Repeat([]byte("x"), 1024)
	for range 2 * bound / len(line) {
		l.Write(0, line)
	}
	if l.slow.Load() == 0 || len(l.lanes[0].buf) > bound+2*len(line) {
		t.Fatalf("%d dropped, %d bytes held", l.slow.Load(), len(l.lanes[0].buf))
	}
}

func TestTextsOfTheLogAreJSON(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got := string(AppendJSONString(nil, text))
		if got != want || !json.Valid([]byte(got)) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	f("plain", `"plain"`)
	f("a\"b\\c", `"a\"b\\c"`)
	f("\x00\n\x1f\x7f", `"\u0000\u000a\u001f\u007f"`)
	f("\xff\xfe", "\"\ufffd\ufffd\"")
	f("grün", `"grün"`)
}
