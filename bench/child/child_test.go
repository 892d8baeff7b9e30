package child_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gridrouter.io/bench/child"
	"gridrouter.io/bench/testkit"
)

// holder is the variable that makes of this program one that starts a child and waits to be killed.
const holder = "GRIDROUTER_TEST_HOLDS_A_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(holder) != "" {
		hold()
	}
	goleak.VerifyTestMain(m)
}

// hold starts a child that never ends by itself, and writes its number.
func hold() {
	cmd := exec.Command("sleep", "1000000")
	p, err := child.Start(cmd)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(p.PID()) + "\n")
	<-p.Ended()
	os.Exit(0)
}

// shell starts a script that ends with the test, and returns what it writes.
func shell(t *testing.T, script string) (*child.Process, *bufio.Reader) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdout = write
	p, err := child.Start(cmd)
	_ = write.Close() // the child has its own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill(); _ = read.Close() })
	return p, bufio.NewReader(read)
}

// says waits for a line.
func says(t *testing.T, out *bufio.Reader, want string) {
	t.Helper()
	if line, err := out.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("%q, %v; want %q", line, err, want)
	}
}

func TestStopAsksFirst(t *testing.T) {
	p, out := shell(t, "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done")
	says(t, out, "up")
	if !p.Running() {
		t.Error("it does not run")
	}
	p.Stop(time.Hour, nil)
	says(t, out, "bye")
	if p.Running() || p.Ending() != "exit status 3" || p.Err() == nil {
		t.Errorf("running %v, %s, %v", p.Running(), p.Ending(), p.Err())
	}
}

// TestStopKillsWhatDoesNotListen after a limit, and at once when it is told so.
func TestStopKillsWhatDoesNotListen(t *testing.T) {
	now := make(chan struct{})
	close(now)
	f := func(limit time.Duration, now <-chan struct{}) {
		t.Helper()
		p, out := shell(t, "trap '' TERM; echo up; while :; do sleep 0.01; done")
		says(t, out, "up")
		p.Stop(limit, now)
		if p.Ending() != "signal: killed" {
			t.Errorf("it ended with %s", p.Ending())
		}
	}
	f(10*time.Millisecond, nil)
	f(time.Hour, now)
}

// TestStopEndsWhatTheProcessHasStarted looks at a worker that outlives its master: it holds the pipe.
func TestStopEndsWhatTheProcessHasStarted(t *testing.T) {
	p, out := shell(t, "(trap '' TERM; echo up; while :; do sleep 0.01; done) & exit 0")
	says(t, out, "up")
	<-p.Ended()
	p.Stop(time.Hour, nil)
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestWhatCannotBeStartedIsAnError(t *testing.T) {
	if _, err := child.Start(exec.Command("/nowhere/at/all")); err == nil {
		t.Error("no error")
	}
}

// TestAChildDiesWithItsParent kills a process that holds a child.
func TestAChildDiesWithItsParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holder+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // it was killed
	defer func() { _ = cmd.Process.Kill() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the child is gone", func() bool { return !alive(pid) })
}

// alive says whether a process runs. One that has ended and that nobody waits for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && syscall.Kill(pid, 0) == nil
}
