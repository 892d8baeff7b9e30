package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait for something that ought to happen at once.
const patience = 30 * time.Second

// buildDir is where the binary under test is built; TestMain makes and removes it.
var buildDir string

// built is the real binary, built once, by the first test that asks for it.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "gridrouter")
	args := []string{"build", "-ldflags=-X main.version=v0.0.0-test", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "gridrouter-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Setenv("XDG_STATE_HOME", filepath.Join(buildDir, "state")); err != nil { // for snapshots
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if stage := os.Getenv("GRIDROUTER_TEST_STUCK"); stage != "" {
		stuck(stage)
	}
	status := m.Run()
	if err := os.RemoveAll(buildDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

// binary returns the path of the real gridrouter.
func binary(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The scripts in testdata/script run the real binary.
func TestScripts(t *testing.T) {
	path := binary(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(path)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits},
	})
}

// exits runs a command that must end with a status: exits STATUS COMMAND ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// process is a running gridrouter and what it logged.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has ended and everything is logged
	mu     sync.Mutex
	logged []map[string]any
	plain  []string // lines that are not JSON
	news   *sync.Cond
}

// start runs gridrouter with args; the test kills it, if it has not ended by then.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startWriting(t, nil, args...)
}

// startWriting is start with an output; nil: what is written there is lost.
func startWriting(t *testing.T, stdout *os.File, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary(t), args...), ended: make(chan struct{})}
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.news = sync.NewCond(&p.mu)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.line(lines.Text())
		}
		_ = p.cmd.Wait() // ProcessState tells
		p.news.Broadcast()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // an error means that it has ended
		<-p.ended
		if t.Failed() {
			t.Logf("gridrouter %s logged:\n%v\n%s", strings.Join(args, " "), p.logged, strings.Join(p.plain, "\n"))
		}
	})
	return p
}

func (p *process) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fields map[string]any
	if json.Unmarshal([]byte(text), &fields) == nil {
		p.logged = append(p.logged, fields)
	} else {
		p.plain = append(p.plain, text)
	}
	p.news.Broadcast()
}

// await returns the first logged line whose message it is.
func (p *process) await(t *testing.T, message string) map[string]any {
	t.Helper()
	timer := time.AfterFunc(patience, p.news.Broadcast)
	defer timer.Stop()
	deadline := time.Now().Add(patience)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for _, fields := range p.logged {
			if fields["msg"] == message {
				return fields
			}
		}
		select {
		case <-p.ended:
			t.Fatalf("it ended before it logged %q: %v", message, p.plain)
		default:
		}
		if !time.Now().Before(deadline) {
			t.Fatalf("it did not log %q", message)
		}
		p.news.Wait()
	}
}

// terminate sends SIGTERM and returns the exit status.
func (p *process) terminate(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("it did not end after SIGTERM")
	}
	return p.cmd.ProcessState.ExitCode()
}
