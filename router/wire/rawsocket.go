//go:build !race

package wire

import (
	"syscall"
	"unsafe"
)

// The system calls of the data path, without telling the scheduler of each. The sockets of
// the runtime never block, so that there is nothing to tell: the calls return at once, and
// for who waits there is the runtime's own poller. What telling costs is a tenth of a
// request's own time (docs/performance.md).

// RawRead reads once. err is 0 for none.
func RawRead(fd uintptr, p []byte) (n int, err syscall.Errno) {
	return rawCall(syscall.SYS_RECVFROM, fd, p, 0)
}

// RawPeek looks at what could be read, without taking it or waiting.
func RawPeek(fd uintptr, p []byte) (n int, err syscall.Errno) {
	return rawCall(syscall.SYS_RECVFROM, fd, p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
}

// RawWrite writes once. A connection that is gone is an error and no signal.
func RawWrite(fd uintptr, p []byte) (n int, err syscall.Errno) {
	return rawCall(syscall.SYS_SENDTO, fd, p, syscall.MSG_NOSIGNAL)
}

func rawCall(call, fd uintptr, p []byte, flags uintptr) (n int, err syscall.Errno) {
	for {
		r, _, err := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0) //nolint:gosec // the way that package syscall does it
		if err == 0 {
			return int(r), 0
		}
		if err != syscall.EINTR {
			return 0, err
		}
	}
}
