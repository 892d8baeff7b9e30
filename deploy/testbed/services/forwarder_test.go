package services

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// pod is a server that sends its name, then what it is sent, and ends with its client.
func pod(t *testing.T, name string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.WriteString(conn, name)
				io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// free gives an address that nobody listens on.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func dial(t *testing.T, address netip.AddrPort) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return conn.(*net.TCPConn)
}

// talk sends a word, ends its side, and gives the whole answer.
func talk(t *testing.T, conn *net.TCPConn, word string) string {
	t.Helper()
	io.WriteString(conn, word)
	conn.CloseWrite()
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestConnectionsGoToTheEndpointsOfTheTableInForce(t *testing.T) {
	first, second, address := pod(t, "first:"), pod(t, "second:"), free(t)
	var f Forwarder
	defer f.Close()
	if err := f.Set(Table{address: {first}}); err != nil {
		t.Fatal(err)
	}
	old := dial(t, address)
	if answer := talk(t, dial(t, address), "word"); answer != "first:word" {
		t.Errorf("the answer is %q", answer)
	}
	if err := f.Set(Table{address: {second}}); err != nil {
		t.Fatal(err)
	}
	if answer := talk(t, dial(t, address), "word"); answer != "second:word" {
		t.Errorf("after the change the answer is %q", answer)
	}
	if answer := talk(t, old, "old"); answer != "first:old" {
		t.Errorf("on the connection from before the change the answer is %q", answer)
	}
	if err := f.Set(Table{}); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", address.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("without endpoints a connection ends with %v", err)
	}
}

func TestAConnectionToAPodThatIsGoneIsReset(t *testing.T) {
	address := free(t)
	var f Forwarder
	defer f.Close()
	if err := f.Set(Table{address: {free(t).String()}}); err != nil {
		t.Fatal(err)
	}
	// The reset may come so soon that already the dial fails by it.
	conn, err := net.Dial("tcp", address.String())
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		_, err = io.ReadAll(conn)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v", err)
	}
}

func TestAnAddressThatIsTakenDoesNotStopTheOthers(t *testing.T) {
	endpoint, address := pod(t, "pod:"), free(t)
	taken := netip.MustParseAddrPort(pod(t, "other"))
	var f Forwarder
	defer f.Close()
	if err := f.Set(Table{address: {endpoint}, taken: {endpoint}}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the error is %v", err)
	}
	if answer := talk(t, dial(t, address), "word"); answer != "pod:word" {
		t.Errorf("the answer is %q", answer)
	}
}
