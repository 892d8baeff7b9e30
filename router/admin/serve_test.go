package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")) // it never ends
}

// serving serves a handler on a listener until the test ends.
type serving struct {
	addr string
	end  func()
	logs *observer.ObservedLogs
}

func serve(t *testing.T, handler fasthttp.RequestHandler, wrap func(net.Listener) net.Listener) *serving {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if wrap != nil {
		ln = wrap(ln)
	}
	core, logs := observer.New(zap.InfoLevel)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := &Server{Handler: handler, Logger: zap.New(core)}
	go func() { ended <- server.Serve(ctx, ln) }()
	end := func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			ended <- nil
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	}
	t.Cleanup(end)
	return &serving{addr, end, logs}
}

// ask sends raw bytes, and returns the one answer.
func (s *serving) ask(t *testing.T, raw string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(conn, raw) }() // an answer may come before all was taken
	method, _, _ := strings.Cut(raw, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.40q: %v", raw, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.40q: %v", raw, err)
	}
	return resp, string(body)
}

func request(method, target string, lines ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", method, target, strings.Join(append(lines, ""), "\r\n"))
}

// TestPatternsAreThoseOfPackageHTTP compares what each request gets from a Mux and from http.ServeMux.
func TestPatternsAreThoseOfPackageHTTP(t *testing.T) {
	mux, model := new(Mux), http.NewServeMux()
	for _, pattern := range []string{"GET /a", "POST /a", "POST /b", "GET /t/{name}", "/any/", "/any/one"} {
		mux.HandleFunc(pattern, func(ctx *fasthttp.RequestCtx) {
			ctx.SetBodyString(fmt.Sprint(pattern, " ", ctx.UserValue("name")))
		})
		model.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			name := any(nil)
			if value := r.PathValue("name"); value != "" {
				name = value
			}
			_, _ = fmt.Fprint(w, pattern, " ", name)
		})
	}
	ours := serve(t, mux.Serve, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: model, ReadTimeout: time.Minute}
	go func() { _ = server.Serve(ln) }()
	defer server.Close()
	theirs := &serving{addr: ln.Addr().String()}
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"} {
		for _, target := range []string{"/a", "/a?b=c", "/%61", "/a/", "//a", "//a?b=c", "/x/../a", "/./a", "/b", "/t/", "/t", "/t/x", "/t/x%2Fy", "/t/x/y",
			"/t/%zz", "/any", "/any?b=c", "/any/", "/any/one", "/any/two/three", "/any/one/", "/", "/nothing", "http://y/a"} {
			got, gotBody := ours.ask(t, request(method, target))
			want, wantBody := theirs.ask(t, request(method, target))
			if got.StatusCode != want.StatusCode || got.Header.Get("Allow") != want.Header.Get("Allow") || got.Header.Get("Location") != want.Header.Get("Location") {
				t.Errorf("%s %s: got %d %v, want %d %v", method, target, got.StatusCode, got.Header, want.StatusCode, want.Header)
			}
			switch {
			case want.StatusCode == http.StatusTemporaryRedirect || method == http.MethodHead:
			case want.StatusCode >= 400:
				wantError(t, method+" "+target, got, gotBody)
			case strings.TrimSpace(gotBody) != strings.TrimSpace(wantBody):
				t.Errorf("%s %s: got %q, want %q", method, target, gotBody, wantBody)
			}
		}
	}
}

// wantError fails the test unless an answer tells of its error as all of them do.
func wantError(t *testing.T, what string, resp *http.Response, body string) {
	t.Helper()
	var told struct{ Error string }
	if err := json.Unmarshal([]byte(body), &told); err != nil || told.Error == "" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: got %d %v %q, want a JSON object with an error", what, resp.StatusCode, resp.Header, body)
	}
}

// TestRequestsAreBounded sends what is too large, and what is no request.
func TestRequestsAreBounded(t *testing.T) {
	s := serve(t, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("ok") }, nil)
	f := func(status int, raw string) {
		t.Helper()
		resp, body := s.ask(t, raw)
		if status >= 400 {
			wantError(t, raw[:min(len(raw), 60)], resp, body)
		}
		if resp.StatusCode != status || resp.Header.Get("Server") != "" || resp.Header.Get("Date") == "" {
			t.Errorf("%.60q: got %d %v, want %d", raw, resp.StatusCode, resp.Header, status)
		}
	}
	f(200, request("GET", "/", "X: "+strings.Repeat("a", 30_000)))
	f(431, request("GET", "/", "X: "+strings.Repeat("a", 40_000)))
	f(431, request("GET", "/"+strings.Repeat("a", 40_000)))
	f(200, request("POST", "/", "Content-Length: 5")+"hello")
	f(413, request("POST", "/", "Content-Length: 100000")+strings.Repeat("a", 100_000))
	f(400, "nonsense\r\n\r\n")
	f(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
	f(505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n")
}

// TestAClientOfHTTP10GetsNoChunks asks for a stream.
func TestAClientOfHTTP10GetsNoChunks(t *testing.T) {
	s := serve(t, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyStream(strings.NewReader("all of it"), -1) }, nil)
	if resp, body := s.ask(t, "GET / HTTP/1.0\r\n\r\n"); body != "all of it" || resp.Proto != "HTTP/1.0" || len(resp.TransferEncoding) > 0 {
		t.Errorf("got %s %v %q", resp.Proto, resp.Header, body)
	}
	if resp, body := s.ask(t, request("GET", "/")); body != "all of it" || len(resp.TransferEncoding) == 0 {
		t.Errorf("over HTTP/1.1: got %v %q", resp.Header, body)
	}
}

// TestAPanicAnswers500AndEndsNothingElse has handlers panic, one of package net/http among them.
func TestAPanicAnswers500AndEndsNothingElse(t *testing.T) {
	mux := new(Mux)
	mux.HandleFunc("/panic", func(*fasthttp.RequestCtx) { panic("at the disco") })
	mux.HandleFunc("/adapted", adapted(func(http.ResponseWriter, *http.Request) { panic("at the disco") }))
	mux.HandleFunc("/fine", func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("fine") })
	s := serve(t, mux.Serve, nil)
	for _, path := range []string{"/panic", "/adapted"} {
		if resp, body := s.ask(t, request("GET", path)); resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "disco") {
			t.Errorf("%s: got %d %q", path, resp.StatusCode, body)
		}
	}
	if _, body := s.ask(t, request("GET", "/fine")); body != "fine" {
		t.Errorf("got %q", body)
	}
	if n := s.logs.FilterMessageSnippet("panicked").Len(); n != 2 {
		t.Errorf("%d are logged", n)
	}
}

// failing is a listener that has no descriptors for a while.
type failing struct {
	net.Listener
	left atomic.Int32
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestTheServerOutlivesFailuresToAccept(t *testing.T) {
	var ln *failing
	s := serve(t, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("fine") }, func(l net.Listener) net.Listener {
		ln = &failing{Listener: l}
		ln.left.Store(3)
		return ln
	})
	if _, body := s.ask(t, request("GET", "/")); body != "fine" || s.logs.FilterMessageSnippet("cannot accept").Len() != 1 {
		t.Errorf("got %q, logs %v", body, s.logs.All())
	}
}

// TestTheEndCutsWhoStillReads ends the server under an idle client, one with half a request, and one
// that does not take its answer.
func TestTheEndCutsWhoStillReads(t *testing.T) {
	begun, broken := make(chan struct{}), make(chan error, 1)
	s := serve(t, func(ctx *fasthttp.RequestCtx) {
		close(begun)
		read, write := io.Pipe()
		go func() {
			piece := make([]byte, 64<<10)
			for {
				if _, err := write.Write(piece); err != nil {
					broken <- err
					return
				}
			}
		}()
		ctx.SetBodyStream(read, -1)
	}, nil)
	for _, raw := range []string{"", "GET / HT", request("GET", "/")} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, raw)
	}
	<-begun // the others were accepted before
	s.end()
	select {
	case err := <-broken:
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("an answer that nobody takes goes on")
	}
}
