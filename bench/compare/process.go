package compare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gridrouter.io/bench/child"
)

// patience bounds every wait for a process.
const patience = 2 * time.Minute

// stopLimit is how long a process may take to end when it is asked to.
const stopLimit = 5 * time.Second

// process is a program that was started, with the processes that it started itself.
type process struct {
	*child.Process
	name   string
	output string // file
}

// launch starts a program.
func launch(dir, name string, argv ...string) (*process, error) {
	output := filepath.Join(dir, name+".output")
	out, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it is asked to end first
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, dir
	started, err := child.Start(cmd)
	if err := errors.Join(err, out.Close()); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &process{started, name, output}, nil
}

// stop ends the process and those that it started.
func (p *process) stop() { p.Stop(stopLimit, nil) }

// outputTail returns the end of what the process has written.
func (p *process) outputTail() string {
	text, _ := os.ReadFile(p.output) // empty says as much
	return strings.TrimSpace(string(text[max(0, len(text)-2000):]))
}

// await waits until ready says so, or the process has ended.
func (p *process) await(ctx context.Context, ready func() bool) error {
	deadline := time.Now().Add(patience)
	for !ready() {
		select {
		case <-p.Ended():
			return fmt.Errorf("%s ended at once (%s): %s", p.name, p.Ending(), p.outputTail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %s: %s", p.name, patience, p.outputTail())
		}
	}
	return nil
}

// listens says whether somebody accepts connections at addr.
func listens(addr string) func() bool {
	return func() bool {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = conn.Close() // it was only to see
		}
		return err == nil
	}
}

// freeAddress returns a loopback address that nobody listens at.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }() // nobody connected to it
	return listener.Addr().String(), nil
}

// members returns the processes of the group.
func (p *process) members() []int {
	var members []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 2 && fields[0] != "Z" && fields[2] == strconv.Itoa(p.PID()) {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2]) // the pattern lets only numbers in
			members = append(members, pid)
		}
	}
	return members
}

// cpu returns the CPU time, user and system, that the group's threads have taken, as the
// scheduler counts it (in ns). A thread that ended meanwhile is not in it.
func (p *process) cpu() (spent time.Duration) {
	for _, pid := range p.members() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is good
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			first, _, _ := strings.Cut(string(text), " ")
			ns, _ := strconv.ParseInt(first, 10, 64) // the kernel writes numbers
			spent += time.Duration(ns)
		}
	}
	return spent
}

// resident returns the bytes of memory that the group holds of its own. Pages of files and
// shared ones are not counted: forked workers have them in common.
func (p *process) resident() (bytes int64) {
	for _, pid := range p.members() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > 1 && (fields[0] == "Private_Dirty:" || fields[0] == "Private_Clean:") {
				kib, _ := strconv.ParseInt(fields[1], 10, 64) // as above
				bytes += kib << 10
			}
		}
	}
	return bytes
}

// errNoCounter says that system calls cannot be counted here.
var errNoCounter = errors.New("neither perf nor strace is installed, or this user may not use them")

// calls counts the system calls that the group makes while work runs.
func (p *process) calls(ctx context.Context, dir string, work func() error) (calls int64, by string, err error) {
	members := p.members()
	pids := make([]string, 0, len(members))
	for _, pid := range members {
		pids = append(pids, strconv.Itoa(pid))
	}
	out := filepath.Join(dir, "calls")
	counters := []struct {
		by    string
		argv  []string
		found *regexp.Regexp
	}{
		{"perf", []string{"perf", "stat", "-x", ",", "-o", out, "-e", "raw_syscalls:sys_enter", "-p", strings.Join(pids, ",")}, regexp.MustCompile(`(?m)^(\d+),`)},
		{"strace, which slows what it counts", []string{"strace", "-c", "-f", "-q", "-o", out, "-p", strings.Join(pids, ",")}, regexp.MustCompile(`(?m)^100\.00 .*?\s(\d+)\s+(?:\d+\s+)?total`)},
	}
	for _, counter := range counters {
		if _, err := exec.LookPath(counter.argv[0]); err != nil {
			continue
		}
		tool, err := launch(dir, "counter", counter.argv...)
		if err != nil {
			continue
		}
		select {
		case <-tool.Ended(): // it may not count here: the next one is tried
			continue
		case <-time.After(500 * time.Millisecond): // it has no way to say that it has begun
		case <-ctx.Done():
		}
		err = work()
		_ = tool.Signal(syscall.SIGINT) // it fails only if it is gone already
		<-tool.Ended()
		if err != nil {
			return 0, "", err
		}
		text, _ := os.ReadFile(out) // empty says as much
		if found := counter.found.FindSubmatch(text); found != nil {
			calls, _ = strconv.ParseInt(string(found[1]), 10, 64) // digits only
			if calls > 0 {
				return calls, counter.by, nil
			}
		}
	}
	return 0, "", errNoCounter
}
