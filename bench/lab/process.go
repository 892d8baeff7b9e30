package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"gridrouter.io/bench/child"
)

// process is one run of a part.
type process struct {
	*child.Process
	mu   sync.Mutex
	want bool // its end was asked for
}

// launch starts a program whose output goes to out.
func launch(path string, args, env []string, out io.Writer) (*process, error) {
	cmd := exec.Command(path, args...) //nolint:noctx // a part ends when the grid says so: first asked, then killed
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = out, out
	started, err := child.Start(cmd)
	if err != nil {
		return nil, err
	}
	return &process{Process: started}, nil
}

// expected says whether the end of the process was asked for.
func (p *process) expected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want
}

func (p *process) expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = true
}

// kill ends the process as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	p.expect()
	p.Kill()
}

// stop asks the process to end, and kills it after the limit or when killNow is closed.
func (p *process) stop(limit time.Duration, killNow <-chan struct{}) {
	p.expect()
	p.Stop(limit, killNow)
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
