package l4_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gridrouter.io/bench/lab/l4"
	"gridrouter.io/bench/testkit"
)

// server is a real server: it says its name, reads to the end of the stream, and then
// says how many bytes it got.
func server(t *testing.T, name string) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintf(conn, "%s\n", name)
				n, _ := io.Copy(io.Discard, conn)
				fmt.Fprintf(conn, "%d bytes\n", n)
			}()
		}
	}()
	stop = func() {
		listener.Close()
		<-done
	}
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

// forward runs a forwarder until the test ends.
func forward(t *testing.T, grace time.Duration, config l4.Config) (f *l4.Forwarder, address string, stop func()) {
	t.Helper()
	f, err := l4.New(config)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- f.Serve(ctx, listener, grace)
		close(done)
	}()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the forwarder ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return f, listener.Addr().String(), stop
}

// greet connects and returns the connection and the first line, "" if none came.
func greet(t *testing.T, address string) (net.Conn, *bufio.Reader, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if errors.Is(err, syscall.ECONNRESET) { // turned away before the dial had come back
		return nil, nil, ""
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	line, _ := reader.ReadString('\n')
	return conn, reader, strings.TrimSpace(line)
}

func TestConnectionsGoRound(t *testing.T) {
	a, _ := server(t, "a")
	b, _ := server(t, "b")
	_, address, _ := forward(t, time.Second, l4.Config{Reals: []l4.Real{{Address: a}, {Address: b}}})
	counts := map[string]int{}
	for range 10 {
		conn, _, name := greet(t, address)
		counts[name]++
		conn.Close()
	}
	if counts["a"] != 5 || counts["b"] != 5 {
		t.Errorf("ten connections went to %v", counts)
	}
}

func TestLeastConnectionsFillsTheEmptierServer(t *testing.T) {
	a, _ := server(t, "a")
	b, _ := server(t, "b")
	f, address, _ := forward(t, time.Second, l4.Config{Reals: []l4.Real{{Address: a}, {Address: b}}, Policy: l4.LeastConnections})
	var ofA net.Conn
	for range 4 {
		if conn, _, name := greet(t, address); name == "a" {
			ofA = conn
		}
	}
	ofA.Close()
	testkit.Eventually(t, "a has one open connection", func() bool { return f.Status().Reals[0].Open == 1 })
	if _, _, name := greet(t, address); name != "a" {
		t.Errorf("the next connection went to %q", name)
	}
}

func TestHalfCloseIsKept(t *testing.T) {
	a, _ := server(t, "a")
	_, address, _ := forward(t, time.Second, l4.Config{Reals: []l4.Real{{Address: a}}})
	conn, reader, _ := greet(t, address)
	if _, err := conn.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if line, err := reader.ReadString('\n'); line != "100000 bytes\n" {
		t.Errorf("after the half-close came %q, %v", line, err)
	}
}

func TestDeadServerIsPassedOver(t *testing.T) {
	a, stopA := server(t, "a")
	b, _ := server(t, "b")
	f, address, _ := forward(t, time.Second, l4.Config{Reals: []l4.Real{{Address: a}, {Address: b}}})
	stopA()
	for range 6 {
		if _, _, name := greet(t, address); name != "b" {
			t.Fatalf("a connection went to %q", name)
		}
	}
	if status := f.Status(); status.Reals[0].Failures != 3 || status.Refused != 0 {
		t.Errorf("the status is %+v", status)
	}
}

func TestClientIsRefusedWhenNoServerIsLeft(t *testing.T) {
	a, stopA := server(t, "a")
	f, address, _ := forward(t, time.Second, l4.Config{Reals: []l4.Real{{Address: a}}})
	stopA()
	if _, _, name := greet(t, address); name != "" {
		t.Errorf("a connection went to %q", name)
	}
	testkit.Eventually(t, "one connection is counted as refused", func() bool { return f.Status().Refused == 1 })
}

func TestHealthIsFollowed(t *testing.T) {
	var sick atomic.Bool
	health := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(health.Close)
	a, _ := server(t, "a")
	b, _ := server(t, "b")
	f, address, _ := forward(t, time.Second, l4.Config{Reals: []l4.Real{{Address: a, Health: health.URL}, {Address: b}}})
	open, reader, _ := greet(t, address) // to a: the first turn
	sick.Store(true)
	testkit.Eventually(t, "a is out", func() bool { return !f.Status().Reals[0].Up })
	for range 4 {
		if _, _, name := greet(t, address); name != "b" {
			t.Errorf("a new connection went to %q", name)
		}
	}
	// What is open stays open.
	if err := open.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if line, _ := reader.ReadString('\n'); line != "0 bytes\n" {
		t.Errorf("the open connection then got %q", line)
	}
	sick.Store(false)
	testkit.Eventually(t, "a is back", func() bool { return f.Status().Reals[0].Up })
}

func TestDrainWaitsAndThenCloses(t *testing.T) {
	a, _ := server(t, "a")
	_, address, stop := forward(t, 50*time.Millisecond, l4.Config{Reals: []l4.Real{{Address: a}}})
	_, reader, _ := greet(t, address)
	stop()
	if line, err := reader.ReadString('\n'); err == nil {
		t.Errorf("after the drain came %q", line)
	}
}

func TestStatusIsToldAsJSON(t *testing.T) {
	f, err := l4.New(l4.Config{Name: "vip", Reals: []l4.Real{{Address: "127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	f.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	var status l4.Status
	if err := json.Unmarshal(recorder.Body.Bytes(), &status); err != nil {
		t.Fatal(err)
	}
	if status.Name != "vip" || len(status.Reals) != 1 || !status.Reals[0].Up {
		t.Errorf("the status is %+v", status)
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	if _, err := l4.New(l4.Config{}); err == nil {
		t.Error("a forwarder without real servers was made")
	}
	if _, err := l4.New(l4.Config{Reals: []l4.Real{{Address: "127.0.0.1:1"}}, Policy: "random"}); err == nil {
		t.Error("a forwarder with an unknown policy was made")
	}
}
