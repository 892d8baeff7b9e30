package wire

import (
	"syscall"
	"unsafe"
)

// Events of poll(2): something can be read, and three that tell of an end.
const (
	pollIn       = 0x1    // POLLIN
	pollError    = 0x8    // POLLERR
	pollHangUp   = 0x10   // POLLHUP: both directions have ended
	pollPeerShut = 0x2000 // POLLRDHUP: the other side has ended its direction
)

// RawReadable says whether something can be read from a socket, or a connection be accepted from one
// that listens. It does not wait.
func RawReadable(fd uintptr) bool { return rawPoll(fd, pollIn) != 0 }

// rawPoll returns which of the events that are asked for a socket is found in, and those of errors,
// without waiting.
func rawPoll(fd uintptr, wanted int16) (events int16) {
	ask := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: wanted}
	var noTime syscall.Timespec
	for {
		_, _, err := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&ask)), 1, uintptr(unsafe.Pointer(&noTime)), 0, 0, 0) //nolint:gosec // the way that package syscall does it
		if err == 0 {
			return ask.revents
		}
		if err != syscall.EINTR {
			return 0 // it cannot be told
		}
	}
}
