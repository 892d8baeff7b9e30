package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// ErrNotStarted says that a container's program could not be started; the message that it comes
// with says why.
var ErrNotStarted = errors.New("failed to start")

// Streams are what a container's program reads and writes. Any of them may be nil.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Start starts a container and returns when its program runs, or with the reason why it cannot.
// The container has processes, mounts, messages and a host name of its own; its network is that
// of the file, or the caller's if that is nil. It is ended by a signal to the process of the
// command, which the caller must wait for. That does not wait for the end of what is read.
func Start(spec Spec, network *os.File, streams Streams) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	description, feed, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer description.Close() //nolint:errcheck // the process reads it
	defer feed.Close()        //nolint:errcheck // what was sent is checked
	result, report, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer result.Close() //nolint:errcheck // it was only read
	defer report.Close() //nolint:errcheck // it was only handed on

	spec.OwnNetwork = network != nil
	command := exec.Command(self, Argument)
	command.Env = []string{}
	command.ExtraFiles = []*os.File{description, report}
	if network != nil {
		command.ExtraFiles = append(command.ExtraFiles, network)
	}
	command.Stdout, command.Stderr = streams.Out, streams.Err
	if streams.In != nil {
		input, err := command.StdinPipe()
		if err != nil {
			return nil, err
		}
		go func() {
			_, _ = io.Copy(input, streams.In) // it ends as well when the program does
			_ = input.Close()
		}()
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if spec.Join == 0 {
		command.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("namespaces: %w", err)
	}
	// With these ends only the process has them: when it dies, neither side waits for it.
	_ = description.Close()
	_ = report.Close()
	sent := json.NewEncoder(feed).Encode(spec)
	_ = feed.Close()
	message, err := io.ReadAll(result)
	if err := errors.Join(sent, err); err != nil || len(message) > 0 {
		_ = command.Process.Kill()
		_ = command.Wait()
		if len(message) > 0 {
			return nil, fmt.Errorf("%w: %s", ErrNotStarted, message)
		}
		return nil, err
	}
	return command, nil
}
