//go:build race

package wire

import (
	"errors"
	"syscall"
)

// Under the race detector the calls go through package syscall, which tells the detector
// that what was sent happened before it was received.

func RawRead(fd uintptr, p []byte) (n int, err syscall.Errno) {
	return again(func() (int, error) { return syscall.Read(int(fd), p) })
}

func RawPeek(fd uintptr, p []byte) (n int, err syscall.Errno) {
	return again(func() (int, error) {
		n, _, err := syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n, err
	})
}

func RawWrite(fd uintptr, p []byte) (n int, err syscall.Errno) {
	return again(func() (int, error) { return syscall.Write(int(fd), p) })
}

func again(call func() (int, error)) (n int, err syscall.Errno) {
	for {
		n, failure := call()
		if failure == nil {
			return n, 0
		}
		if errors.As(failure, &err) && err != syscall.EINTR {
			return 0, err
		}
	}
}
