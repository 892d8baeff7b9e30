package testkit

import (
	"net/netip"
	"syscall"
	"testing"
)

// FreeAddr returns an address of loopback (host:port) at which nobody listens: connections to it are
// refused. Until the test ends it is kept for those who ask for it by its number, so that nobody else
// is given it, as a port of its own or of a connection. A server for TCP can listen there, end, and
// listen there again, in this process or another, if it sets SO_REUSEADDR, as servers do.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, release, err := hold()
	if err != nil {
		t.Fatalf("keep a free address: %v", err)
	}
	t.Cleanup(release)
	return addr
}

// hold binds a socket that never listens. The kernel gives the port to nobody who leaves the choice to
// it, and lets others bind it by number as long as all set SO_REUSEADDR and none listens yet.
func hold() (addr string, release func(), err error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	release = func() { _ = syscall.Close(socket) } // nothing was written to it
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		release()
		return "", nil, err
	}
	loopback := [4]byte{127, 0, 0, 1}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: loopback}); err != nil {
		release()
		return "", nil, err
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		release()
		return "", nil, err
	}
	port := bound.(*syscall.SockaddrInet4).Port
	return netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(port)).String(), release, nil
}
