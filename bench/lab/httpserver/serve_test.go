package httpserver_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"gridrouter.io/bench/lab/httpserver"
	"gridrouter.io/bench/testkit"
)

// server is one that was started: end asks it to end, ended is closed when it has.
type server struct {
	address string
	end     context.CancelFunc
	ended   chan struct{}
}

// start serves by a handler until the test ends, or the server is asked to end.
func start(t *testing.T, grace time.Duration, handle fasthttp.RequestHandler) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startAt(t, listener, grace, handle)
}

func startAt(t *testing.T, listener net.Listener, grace time.Duration, handle fasthttp.RequestHandler) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{listener.Addr().String(), cancel, make(chan struct{})}
	go func() {
		defer close(s.ended)
		if err := httpserver.Serve(ctx, listener, grace, handle, zap.NewNop()); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-s.ended })
	return s
}

// send sends raw bytes over a connection that ends with the test.
func (s *server) send(t *testing.T, raw string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// TestARequestInFlightIsAnsweredAtTheEnd asks the server to end while a handler runs.
func TestARequestInFlightIsAnsweredAtTheEnd(t *testing.T) {
	running, goOn := make(chan struct{}), make(chan struct{})
	s := start(t, testkit.Patience, func(ctx *fasthttp.RequestCtx) {
		close(running)
		<-goOn
		ctx.SetBodyString("done")
	})
	conn := s.send(t, get)
	<-running
	s.end()
	testkit.Eventually(t, "no new connection is accepted", func() bool {
		other, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	})
	close(goOn)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "done" {
		t.Errorf("%q, %v", body, err)
	}
	<-s.ended
}

// TestWhatIsInFlightAfterTheGraceIsCut lets a handler wait for what does not come.
func TestWhatIsInFlightAfterTheGraceIsCut(t *testing.T) {
	running, stayed := make(chan struct{}), make(chan bool, 1)
	s := start(t, 10*time.Millisecond, func(ctx *fasthttp.RequestCtx) {
		close(running)
		stayed <- httpserver.ConnOf(ctx).Wait(time.Hour)
	})
	conn := s.send(t, get)
	<-running
	s.end()
	<-s.ended
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes, and no error", n)
	}
	if <-stayed {
		t.Error("the handler was told that an hour is over")
	}
}

// TestAHandlerIsToldThatItsClientHasLeft closes a connection while a handler waits.
func TestAHandlerIsToldThatItsClientHasLeft(t *testing.T) {
	running, stayed := make(chan struct{}), make(chan bool, 1)
	s := start(t, testkit.Patience, func(ctx *fasthttp.RequestCtx) {
		close(running)
		stayed <- httpserver.ConnOf(ctx).Wait(time.Hour)
	})
	conn := s.send(t, get)
	<-running
	_ = conn.Close()
	if <-stayed {
		t.Error("the handler was told that an hour is over")
	}
}

// TestAClientThatSendsAheadHasNotLeft sends two requests at once.
func TestAClientThatSendsAheadHasNotLeft(t *testing.T) {
	s := start(t, testkit.Patience, func(ctx *fasthttp.RequestCtx) {
		if httpserver.ConnOf(ctx).Left() || !httpserver.ConnOf(ctx).Wait(time.Millisecond) {
			ctx.SetStatusCode(http.StatusTeapot)
		}
	})
	reader := bufio.NewReader(s.send(t, get+get))
	for range 2 {
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", response, err)
		}
	}
}

// TestABodyThatIsCutOffFails ends the client's half of the connection, after parts of a body and after
// a whole one.
func TestABodyThatIsCutOffFails(t *testing.T) {
	type outcome struct {
		body string
		err  error
	}
	read := make(chan outcome, 1)
	s := start(t, testkit.Patience, func(ctx *fasthttp.RequestCtx) {
		body, err := io.ReadAll(httpserver.Body(ctx))
		read <- outcome{string(body), err}
	})
	f := func(framing, body string, whole bool) {
		t.Helper()
		conn := s.send(t, "POST / HTTP/1.1\r\nHost: a\r\n"+framing+"\r\n\r\n"+body)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := <-read; whole != (got.err == nil) || whole && got.body != "abc" {
			t.Errorf("%s, %q: %q, %v", framing, body, got.body, got.err)
		}
	}
	f("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", true)
	f("Transfer-Encoding: chunked", "3\r\nabc\r\n", false)
	f("Transfer-Encoding: chunked", "3\r\na", false)
	f("Content-Length: 3", "abc", true)
	// The first 8 KiB are read by fasthttp, which refuses what ends within them before the handler runs.
	f("Content-Length: 10000", string(make([]byte, 9000)), false)
}

// shortOfDescriptors is a listener that fails once, as one does when descriptors have run out.
type shortOfDescriptors struct {
	net.Listener
	failed bool
}

// Accept implements [net.Listener].
func (l *shortOfDescriptors) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAServerOutlivesAnEndOfDescriptors(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := startAt(t, &shortOfDescriptors{Listener: listener}, testkit.Patience, func(*fasthttp.RequestCtx) {})
	response, err := http.ReadResponse(bufio.NewReader(s.send(t, get)), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", response, err)
	}
}
