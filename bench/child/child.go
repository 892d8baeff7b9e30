// Package child starts processes that end at the latest when this one does, and ends them with all
// that they have started themselves.
package child

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a process that was started, with those that it started itself: they are one process
// group. Its methods may be called at once.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended; to be read after that
}

// Start starts a command in a process group of its own, so that a terminal's Ctrl-C does not reach it,
// and sets its SysProcAttr. The kernel kills it when this process ends, in whatever way. A command that
// cannot be started is an error, as of [exec.Cmd.Start].
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the thread ends that started the child, which may be long
		// before this process does: this goroutine keeps its thread until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID returns the process's number, which is its group's too.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended returns a channel that is closed when the process has ended and all that it wrote is passed on.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Running says whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Err waits until the process has ended and returns what [exec.Cmd.Wait] says: nil for exit status 0.
func (p *Process) Err() error {
	<-p.ended
	return p.err
}

// Ending waits until the process has ended and says how: "exit status 2", "signal: killed".
func (p *Process) Ending() string {
	<-p.ended
	return p.cmd.ProcessState.String()
}

// Signal sends a signal to the process, not to its group. A process that has ended is an error.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Kill ends the group as kill -9 does, and waits until the process has ended.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // it fails only if all are gone already
	<-p.ended
}

// Stop asks the group to end by SIGTERM, and kills what is left of it when the process has ended, when
// the limit is over or now is closed, whichever is first. It waits until the process has ended.
func (p *Process) Stop(limit time.Duration, now <-chan struct{}) {
	_ = syscall.Kill(-p.PID(), syscall.SIGTERM) // as in Kill
	over := time.NewTimer(limit)
	defer over.Stop()
	select {
	case <-p.ended:
	case <-now:
	case <-over.C:
	}
	p.Kill()
}
