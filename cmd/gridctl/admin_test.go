package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// aLongTime is a timeout that no call here comes to.
const aLongTime = time.Minute

// TestARefusalOfAnAdminListenerIsToldAsItIs asks listeners that refuse, each for its own reason.
func TestARefusalOfAnAdminListenerIsToldAsItIs(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(status int, token, want string) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "let --metrics be a loopback address", status)
		}))
		defer server.Close()
		at := adminAddress{router: server.Listener.Addr().String(), tokenFile: token}
		if _, err := at.call(t.Context(), http.MethodPost, "guard/accept?revision=1", aLongTime); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d with token %q: %v, want %q", status, token, err, want)
		}
	}
	f(http.StatusUnauthorized, "", "wants a token; give --token-file")
	f(http.StatusUnauthorized, token, "refuses the token in "+token)
	f(http.StatusForbidden, "", "let --metrics be a loopback address")
	f(http.StatusConflict, "", "let --metrics be a loopback address")
	f(http.StatusFound, "", "answers 302: let --metrics")
	f(http.StatusInternalServerError, "", "answers 500: let --metrics")
}

// listen answers each connection by a function, after the head of its request has arrived.
func listen(t *testing.T, answer func(conn net.Conn)) adminAddress {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				answer(conn)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-ended })
	return adminAddress{router: listener.Addr().String()}
}

// hangUp waits until the other side closes the connection.
func hangUp(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// TestAnAnswerThatCannotBeReadIsToldAsItIs asks what is no admin listener, or one that breaks off.
func TestAnAnswerThatCannotBeReadIsToldAsItIs(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		at := listen(t, func(conn net.Conn) { _, _ = io.WriteString(conn, answer) })
		if _, err := at.call(t.Context(), http.MethodGet, "explain", aLongTime); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", answer, err, want)
		}
	}
	f("", "closed the connection without an answer")
	f("SSH-2.0-sshd\r\n", "is not a router's admin listener: ")
	f("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]", "broke off its answer: unexpected EOF")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", "broke off its answer: ")
	f("HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n[]", "broke off its answer: unexpected EOF")
	f(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", maxAnswerBody+1, strings.Repeat("x", maxAnswerBody+1)), "its answer has more than")
	f("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", maxAnswerHead)+"\r\n\r\n", "is not a router's admin listener: ")
}

func TestAnAdminListenerThatIsNotThereIsToldAsItIs(t *testing.T) {
	at := adminAddress{router: testkit.FreeAddr(t)}
	_, err := at.call(t.Context(), http.MethodGet, "explain", aLongTime)
	if want := "at " + at.router + " does not answer; is it running? ("; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestACertificateThatNobodyVouchesForIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	at := adminAddress{router: server.URL}
	if _, err := at.call(t.Context(), http.MethodGet, "explain", aLongTime); err == nil || !strings.Contains(err.Error(), "is not trusted: ") {
		t.Errorf("%v", err)
	}
}

// TestACallIsMadeOnce looks at a listener that breaks each connection off: who accepts a mass change
// should not do so twice.
func TestACallIsMadeOnce(t *testing.T) {
	var calls atomic.Int64
	at := listen(t, func(net.Conn) { calls.Add(1) })
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if _, err := at.call(t.Context(), method, "guard/accept?revision=1", aLongTime); err == nil {
			t.Errorf("%s: no error", method)
		}
	}
	if got := calls.Load(); got != 2 {
		t.Errorf("two calls became %d", got)
	}
}

// TestACallEndsInTime asks listeners that fall silent before, and within, their answer.
func TestACallEndsInTime(t *testing.T) {
	f := func(answer string) {
		t.Helper()
		at := listen(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, answer)
			hangUp(conn)
		})
		if _, err := at.call(t.Context(), http.MethodGet, "explain", 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "is it running? (no answer within 50ms)") {
			t.Errorf("%q: %v", answer, err)
		}
	}
	f("")
	f("HTTP/1.1 200 OK\r\nContent-")
	f("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]")
}

// TestACallEndsWhenItsContextDoes cancels calls while a listener is silent before, and within, its answer.
func TestACallEndsWhenItsContextDoes(t *testing.T) {
	f := func(answer string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		at := listen(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, answer)
			cancel()
			hangUp(conn)
		})
		want := "stopped before the router at " + at.router
		if _, err := at.call(ctx, http.MethodGet, "explain", aLongTime); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("call, %q: %v", answer, err)
		}
		err := at.stream(ctx, http.MethodGet, "export", aLongTime, func(answer *adminAnswer) error {
			_, err := io.Copy(io.Discard, answer)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("stream, %q: %v", answer, err)
		}
	}
	f("")
	f("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]")
}

// TestAStreamMayTakeLongerThanItsTimeout sends the body when the time for the head has long passed.
// Where the machine is too slow for the head, it is given more time.
func TestAStreamMayTakeLongerThanItsTimeout(t *testing.T) {
	for timeout := 20 * time.Millisecond; ; timeout *= 2 {
		at := listen(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n")
			time.Sleep(2 * timeout)
			_, _ = io.WriteString(conn, "2\r\n[]\r\n0\r\n\r\n")
		})
		begun := false
		err := at.stream(t.Context(), http.MethodGet, "export", timeout, func(answer *adminAnswer) error {
			begun = true
			body, err := io.ReadAll(answer)
			if string(body) != "[]" || answer.header("x-a") != "b" {
				t.Errorf("%q, X-A is %q", body, answer.header("x-a"))
			}
			return err
		})
		if begun || timeout > 10*time.Second {
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}
