package wire

import (
	"syscall"
	"unsafe"
)

// Events of poll(2) that tell of an end.
const (
	pollError    = 0x8    // POLLERR
	pollHangUp   = 0x10   // POLLHUP: both directions have ended
	pollPeerShut = 0x2000 // POLLRDHUP: the other side has ended its direction
)

// rawPoll returns which of these events a socket is found in, without waiting.
func rawPoll(fd uintptr) (events int16) {
	ask := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: pollPeerShut}
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
