package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"gridrouter.io/deploy/testbed/container"
)

// Exec tells the kubelet where a program that was asked for in a container can be talked to.
func (r *Runtime) Exec(_ context.Context, request *v1.ExecRequest) (*v1.ExecResponse, error) {
	return r.streams.GetExec(request)
}

// PortForward tells the kubelet where a port of a pod can be reached.
func (r *Runtime) PortForward(_ context.Context, request *v1.PortForwardRequest) (*v1.PortForwardResponse, error) {
	return r.streams.GetPortForward(request)
}

// streams is a server for both, at a port of its own on the loopback.
type streams struct {
	streaming.Server
	http *http.Server
}

func newStreams(r *Runtime) (*streams, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "http", Host: listener.Addr().String()}
	server, err := streaming.NewServer(config, streamer{r})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &streams{server, &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = s.http.Serve(listener) }() // it ends with the runtime
	return s, nil
}

// streamer is what the server asks.
type streamer struct{ runtime *Runtime }

// Exec runs a program in a container. A terminal that was asked for is not there: the program
// reads and writes pipes.
func (s streamer) Exec(ctx context.Context, id string, arguments []string, in io.Reader, out, err io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize) error {
	streams := container.Streams{In: in}
	if out != nil {
		streams.Out = out
	}
	if err != nil {
		streams.Err = err
	}
	code, failed := s.runtime.exec(ctx, id, arguments, streams)
	if failed == nil && code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("the program ended with status %d", code), Code: int(code)}
	}
	return failed
}

var errNoAttach = errors.New("the testbed has no attach; kubectl logs shows the output")

// Attach is refused.
func (streamer) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan remotecommand.TerminalSize) error {
	return errNoAttach
}

var errNoPod = errors.New("the pod has no address of its own")

// PortForward joins a stream with a connection to a port of a pod, at the pod's address.
func (s streamer) PortForward(ctx context.Context, sandbox string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close() //nolint:errcheck // the client has all of it
	address, err := s.runtime.addressOf(sandbox)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the pod has all of it
	go func() {
		_, _ = io.Copy(conn, stream) // the pod hears of the end, and answers to it
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}

func (r *Runtime) addressOf(id string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sandboxes[id]
	if s == nil || s.pod == nil {
		return "", errNoPod
	}
	return s.pod.Address.String(), nil
}
