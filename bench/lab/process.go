package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// spawner starts child processes from one thread that lives as long as they do: the
// kernel sends a child its parent-death signal when the thread that made it ends, not
// only when the process does.
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// start starts the command on the spawner's thread.
func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error)
	s.jobs <- func() { result <- cmd.Start() }
	return <-result
}

// close ends the spawner. No child may be left.
func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}

// process is one run of a part.
type process struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended and its output is written
	mu   sync.Mutex
	want bool // its end was asked for
}

// launch starts a program whose output goes to out. The child has its own process
// group, so that a terminal's Ctrl-C reaches only the parent, which ends its children
// in order; should the parent be killed, the kernel kills the child.
func launch(s *spawner, path string, args, env []string, out io.Writer) (*process, error) {
	cmd := exec.Command(path, args...) //nolint:noctx // a part ends when the grid says so: first asked, then killed
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.start(cmd); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, gone: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		close(p.gone)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// ending says how the process ended: "exit status 2", "signal: killed". Only after
// gone is closed.
func (p *process) ending() string { return p.cmd.ProcessState.String() }

// expected says whether the end of the process was asked for.
func (p *process) expected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want
}

// kill ends the process as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	p.mu.Lock()
	p.want = true
	p.mu.Unlock()
	_ = p.cmd.Process.Kill() // it fails only if the process is gone already
	<-p.gone
}

// stop asks the process to end, and kills it after the limit or when hurry is closed.
func (p *process) stop(limit time.Duration, hurry <-chan struct{}) {
	p.mu.Lock()
	p.want = true
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-hurry:
		p.kill()
	case <-time.After(limit):
		p.kill()
	}
}

// output writes a part's output to its log file, and, line by line with the part's
// name in front, to a second place that all parts share.
type output struct {
	file  *os.File
	name  string
	lines *sharedLines // nil: the file only
	rest  []byte
}

// sharedLines lets several parts write whole lines to one place.
type sharedLines struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements [io.Writer]. One goroutine of os/exec calls it.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if err != nil || o.lines == nil {
		return n, err
	}
	o.rest = append(o.rest, p...)
	for {
		line, rest, ok := bytes.Cut(o.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		o.lines.mu.Lock()
		_, _ = fmt.Fprintf(o.lines.w, "%-14s| %s\n", o.name, line)
		o.lines.mu.Unlock()
		o.rest = rest
	}
}

// lastLines returns the last n lines of a log file, joined by " / ".
func lastLines(path string, n int) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	var lines []string
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			lines = append(lines, line)
		}
		if len(lines) > n {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, " / ")
}
