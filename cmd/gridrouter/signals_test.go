package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gridrouter.io/bench/testkit"
)

// stuck is a command that waits for ever: while it starts, or while it runs. It says on its
// standard output that signals are watched, and which one it was told of.
func stuck(stage string) {
	told := watchSignals("stuck")
	if strings.Contains(stage, "log") {
		told.log.Store(zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(os.Stderr), zap.DebugLevel)))
	}
	told.running.Store(strings.Contains(stage, "run"))
	fmt.Println("watching")
	for {
		select {
		case got := <-told.stop:
			fmt.Println("stop:", got)
		case <-told.reload:
			fmt.Println("reload")
		}
	}
}

// TestSignalsEndWhatIsStuck sends each signal once the one before has been acted on.
func TestSignalsEndWhatIsStuck(t *testing.T) {
	const term, interrupt, hup = syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP
	f := func(stage string, status int, said string, sent ...syscall.Signal) {
		t.Helper()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "GRIDROUTER_TEST_STUCK="+stage)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if strings.Contains(stage, "unread") {
			cmd.Stderr = fullPipe(t)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		lines := bufio.NewScanner(out)
		for _, signal := range sent {
			if !lines.Scan() {
				break
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Error(err)
			}
		}
		for lines.Scan() { // until it has ended
		}
		_ = cmd.Wait() // the status is looked at
		if got := cmd.ProcessState.ExitCode(); got != status || !strings.Contains(stderr.String(), said) {
			t.Errorf("%s, %v: exit status %d, want %d; it said %q", stage, sent, got, status, stderr.String())
		}
	}
	f("start", 0, "stuck: a signal ends the start: terminated", term)
	f("start", 0, "stuck: a signal ends the start: interrupt", interrupt)
	f("start with a log", 0, "a signal ends the start", term)
	f("start", 0, "a signal ends the start", hup, term)
	f("run", 1, "a second signal ends the process at once", term, term)
	f("run", 1, "a second signal ends the process at once", term, interrupt)
	f("run", 1, "a second signal ends the process at once", interrupt, term)
	f("run", 1, "a second signal ends the process at once", hup, term, hup, interrupt)
	f("run with a log", 1, `"exitStatus":1`, term, term)
	f("run with a log unread", 1, "", term, term)
	f("start with a log unread", 0, "", term)
	f("run unread", 1, "", term, term)
}

// fullPipe returns the end to write to of a pipe that is full and that nobody reads.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		_ = w.Close()
	})
	if err := w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = w.Write(make([]byte, 4096)) // until it takes no more
	}
	return w
}

// TestASecondSignalCutsWhatIsInFlight holds a request that its deck never answers, and sends
// the second signal at each stage of a stop. Nothing but that can end the process.
func TestASecondSignalCutsWhatIsInFlight(t *testing.T) {
	dir := t.TempDir()
	deck, _ := startHeldDeck(t)
	writeFile(t, filepath.Join(dir, "all.yaml"), deckYAML("d1", deck)+tenantYAML("d1"))
	f := func(first, second syscall.Signal, await string, args ...string) {
		t.Helper()
		s := startServe(t, append([]string{"--routes", dir, "--access-log", "off"}, args...)...)
		s.ready(t)
		answered := make(chan int, 1)
		go func() {
			status, _ := s.ask("/")
			answered <- status
		}()
		testkit.Eventually(t, "a request is under way", func() bool {
			_, body := fetch(s.admin + "/decks")
			return strings.Contains(body, `"inFlight": 1`)
		})
		if first == 0 {
			resp, err := http.Post(s.admin+"/drain", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			s.await(t, "draining begins")
			first = syscall.SIGTERM
		}
		for _, signal := range []syscall.Signal{first, second} {
			if err := s.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if signal == first && await != "" {
				s.await(t, await)
				await = ""
			}
		}
		select {
		case <-s.ended:
		case <-time.After(patience):
			t.Fatal("it lives on")
		}
		if status := s.cmd.ProcessState.ExitCode(); status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
		if status := <-answered; status != 0 {
			t.Errorf("the request in flight got %d", status)
		}
		last := s.logged[len(s.logged)-1]
		if last["msg"] != "a second signal ends the process at once; what is in flight is cut" || last["requestsInFlight"] != 1.0 {
			t.Errorf("the last words are %v", last)
		}
	}
	f(syscall.SIGTERM, syscall.SIGTERM, "draining: not ready from now on, and everything is still served", "--drain-delay", "1h")
	f(syscall.SIGTERM, syscall.SIGINT, "draining: closing the listeners, and finishing what is in flight", "--drain-delay", "0s", "--drain-timeout", "1h")
	f(0, syscall.SIGINT, "draining goes on; a second signal ends it at once", "--drain-delay", "1h")
}

// TestNothingIsSaidToHaveEndedBeforeItHas stops a router whose request takes longer than it
// may: that it ended is its last word.
func TestNothingIsSaidToHaveEndedBeforeItHas(t *testing.T) {
	dir := t.TempDir()
	deck, _ := startHeldDeck(t)
	log := filepath.Join(dir, "access.log")
	writeFile(t, filepath.Join(dir, "all.yaml"), deckYAML("d1", deck)+tenantYAML("d1"))
	s := startServe(t, "--routes", dir, "--access-log", log, "--drain-delay", "0s", "--drain-timeout", "0s")
	s.ready(t)
	answered := make(chan int, 1)
	go func() {
		status, _ := s.ask("/")
		answered <- status
	}()
	testkit.Eventually(t, "a request is under way", func() bool {
		_, body := fetch(s.admin + "/decks")
		return strings.Contains(body, `"inFlight": 1`)
	})
	if status := s.terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	<-answered
	if last := s.logged[len(s.logged)-1]; last["msg"] != "the router ended" {
		t.Errorf("the last words are %v", last)
	}
	if text, err := os.ReadFile(log); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("the request that was cut has no line: %q, %v", text, err)
	}
}
