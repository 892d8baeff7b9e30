package cri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"gridrouter.io/deploy/testbed/container"
)

// ExecSync runs a program in a container and gives what it says. The kubelet uses it for probes
// and for hooks.
func (r *Runtime) ExecSync(ctx context.Context, request *v1.ExecSyncRequest) (*v1.ExecSyncResponse, error) {
	if r.options.Pretend {
		return &v1.ExecSyncResponse{}, nil
	}
	if timeout := request.GetTimeout(); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout)*time.Second)
		defer cancel()
	}
	var stdout, stderr bytes.Buffer
	code, err := r.exec(ctx, request.GetContainerId(), request.GetCmd(), container.Streams{Out: &stdout, Err: &stderr})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, status.Errorf(codes.DeadlineExceeded, "command timed out: %v", request.GetCmd())
	case errors.Is(err, container.ErrNotStarted):
		// What cannot be started ends with the status that a shell gives to it.
		return &v1.ExecSyncResponse{Stderr: []byte(err.Error()), ExitCode: 127}, nil
	case err != nil:
		return nil, err
	}
	return &v1.ExecSyncResponse{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: code}, nil
}

// exec runs a program in a container until it ends or the context does, and gives its status.
func (r *Runtime) exec(ctx context.Context, id string, arguments []string, streams container.Streams) (code int32, err error) {
	c := r.container(id)
	if c == nil {
		return 0, errNoContainer
	}
	spec := c.spec()
	spec.Arguments = arguments
	if spec.Join = c.process(); spec.Join == 0 {
		return 0, fmt.Errorf("%w: the container does not run", container.ErrNotStarted)
	}
	command, err := container.Start(spec, r.networkFile(c), streams)
	if err != nil {
		return 0, err
	}
	waited := make(chan struct{})
	go func() {
		_ = command.Wait() // how it ended is read below
		close(waited)
	}()
	select {
	case <-waited:
		return exitCode(command.ProcessState), nil
	case <-ctx.Done():
		// All of its group, so that nobody keeps its output open.
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		<-waited
		return 0, ctx.Err()
	}
}

// process is the number of a container's first process, or 0 if it does not run.
func (c *containerState) process() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.command == nil || !c.finished.IsZero() {
		return 0
	}
	return c.command.Process.Pid
}

// networkFile is the network of a container's pod, or nil for that of the node.
func (r *Runtime) networkFile(c *containerState) *os.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.sandbox.pod == nil {
		return nil
	}
	return c.sandbox.pod.Namespace
}
