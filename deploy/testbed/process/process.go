// Package process starts the programs of a testbed, keeps their output in files, and stops them.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a program that was started. Its methods may be called at once.
type Process struct {
	Name string
	// LogFile is where the program's output is.
	LogFile string

	command *exec.Cmd
	done    chan struct{}
	err     error // how it ended; to be read after done was closed
}

// Start starts a program with its output in a file of its name in a folder. The program gets
// signals only from here: a Ctrl-C at the terminal does not reach it.
func Start(folder, name, path string, arguments ...string) (*Process, error) {
	p := &Process{Name: name, LogFile: filepath.Join(folder, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the program has its own
	p.command = exec.Command(path, arguments...)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how the program ended, once Done is closed.
func (p *Process) Err() error {
	ended := "it ended by itself"
	if p.err != nil {
		ended = p.err.Error()
	}
	return fmt.Errorf("%s: %s; its output is in %s", p.Name, ended, p.LogFile)
}

// Signal sends a signal, if the program still runs.
func (p *Process) Signal(signal os.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Stop asks the program to end, waits for that at most as long as grace says, and then kills it.
// It returns when the program has ended.
func (p *Process) Stop(grace time.Duration) {
	// One that was stopped must go on to end.
	_ = p.Signal(syscall.SIGTERM)
	_ = p.Signal(syscall.SIGCONT)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.command.Process.Kill()
		<-p.done
	}
}
