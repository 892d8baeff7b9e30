package files

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// abandoned is how long a file must not have changed for its writer to count for nothing.
const abandoned = time.Minute

// ErrBeingWritten marks a file that somebody has open for writing, or that changed while it was read.
var ErrBeingWritten = errors.New("it is being written")

// ReadStill is [Read] for a file that others may write in place, as a copying tool does: nobody
// has it open for writing before and after, and it does not change meanwhile. Where the system
// does not tell who has a file open (that of another user's, or on some network file systems), one
// counts as written until it has not changed for the time still. A file that has not changed for a
// minute is taken as it is: on some file systems no lease can ever be had.
func ReadStill(name string, limit int64, still time.Duration) ([]byte, error) {
	file, info, err := open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	if !info.Mode().IsRegular() {
		return nil, problem(name, ErrNotRegular)
	}
	if beingWritten(file, info, still) {
		return nil, problem(name, ErrBeingWritten)
	}
	data, err := readAll(file, info, name, limit)
	if err != nil {
		return nil, err
	}
	after, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime()) || int64(len(data)) != info.Size() || beingWritten(file, after, still) {
		return nil, fmt.Errorf("%s: %w", name, ErrBeingWritten)
	}
	return data, nil
}

// beingWritten says whether anybody has a file open for writing: then no lease on it for reading
// can be had (fcntl(2), F_SETLEASE). The lease is given back at once.
func beingWritten(file *os.File, info os.FileInfo, still time.Duration) bool {
	switch err := lease(file, syscall.F_RDLCK); {
	case err == nil:
		_ = lease(file, syscall.F_UNLCK) // closing the file does the same
		return false
	case errors.Is(err, syscall.EAGAIN):
		still = max(still, abandoned)
	}
	return time.Since(info.ModTime()) < still
}

func lease(file *os.File, kind uintptr) error {
	const setLease = 1024 // F_SETLEASE, of linux/fcntl.h
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed syscall.Errno
	if err := raw.Control(func(fd uintptr) { _, _, failed = syscall.Syscall(syscall.SYS_FCNTL, fd, setLease, kind) }); err != nil {
		return err
	}
	if failed != 0 {
		return failed
	}
	return nil
}
