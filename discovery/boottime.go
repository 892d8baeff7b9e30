package discovery

import (
	"syscall"
	"time"
	"unsafe"
)

// clockBootTime is CLOCK_BOOTTIME of clock_gettime(2): it never steps, and goes on while the
// machine is suspended.
const clockBootTime = 7

// bootTime returns the time since the machine was started, suspension included. What is kept for
// as long as others hold it to be true, such as that a follower is up to date, is counted by it:
// to them a suspended machine was away. The monotonic clock of package time stands still then.
func bootTime() time.Duration {
	var at syscall.Timespec
	if _, _, err := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBootTime, uintptr(unsafe.Pointer(&at)), 0); err != 0 { //nolint:gosec // the way that package syscall does it
		return time.Since(started) // no kernel of ours is without that clock
	}
	return time.Duration(at.Nano())
}

var started = time.Now()
