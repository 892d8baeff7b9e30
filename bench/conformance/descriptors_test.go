package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

const plain = "GET / HTTP/1.1\r\nHost: acme.test\r\n\r\n"

// ask sends a request on a connection and returns the status.
func ask(conn net.Conn, in *bufio.Reader) (int, error) {
	if _, err := io.WriteString(conn, plain); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// askAnew sends a request on a connection of its own.
func askAnew(addr string) (int, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	return ask(conn, bufio.NewReader(conn))
}

// TestConformanceIdleConnectionsBeyondTheDescriptors opens 3,000 connections to a router that
// may have 1,024 descriptors. Who comes then is served, with a connection to the deck each:
// those that say nothing make room. When they leave, the next one is served within a second.
func TestConformanceIdleConnectionsBeyondTheDescriptors(t *testing.T) {
	needs(t, "prlimit")
	deck := testkit.FreeAddr(t)
	server := &http.Server{Addr: deck, ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // so that each request needs a descriptor of the router's
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ListenAndServe() // ends with the test
	}()
	t.Cleanup(func() {
		_ = server.Close() // nobody uses it any more
		<-done
	})
	awaitListener(t, deck)
	r := startRouterBy(t, []string{"prlimit", "--nofile=1024:1024"}, deck)
	idle := make([]net.Conn, 3000)
	var group sync.WaitGroup
	for i := range idle {
		group.Go(func() {
			from := net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 3, byte(i%100))}} // each has its share
			idle[i], _ = from.Dial("tcp", r.addr)                                                                       // the queue may be full: that is what is tested
		})
	}
	group.Wait()
	for i := range 20 {
		if status, err := askAnew(r.addr); status != http.StatusOK {
			t.Fatalf("new client %d, while idle connections have all places: %d %v", i, status, err)
		}
	}
	for _, conn := range idle {
		if conn != nil {
			_ = conn.Close()
		}
	}
	begun := time.Now()
	status, err := askAnew(r.addr)
	took := time.Since(begun)
	if status != http.StatusOK || took > 5*time.Second {
		t.Errorf("after they left: %d %v in %v", status, err, took)
	}
	fmt.Printf("3,000 idle connections on 1,024 descriptors: served meanwhile, and %v after they left (bar: 1s)\n", took.Round(time.Millisecond))
}
