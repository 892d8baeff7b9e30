// Package files opens the files that users name. Opening a named pipe (FIFO) in the ordinary
// way waits for the other end, without a bound and deaf to signals; so does reading one
// whose writer is silent. Nothing here waits like that: every path that a flag, a document
// or a folder gives is opened by this package.
package files

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

var (
	// ErrNotRegular marks what is no regular file where only such a one will do.
	ErrNotRegular = errors.New("it is not a regular file")
	// ErrTooLarge marks a file that holds more than it may.
	ErrTooLarge = errors.New("it is too large")
	// ErrNoReader marks a named pipe that nobody has open for reading.
	ErrNoReader = errors.New("it is a named pipe that nobody reads")
)

// Read returns all of a regular file of at most limit bytes. Errors are those of the file
// system, [ErrNotRegular] and [ErrTooLarge], each with the name. It may be called at once
// from any goroutine.
func Read(name string, limit int64) ([]byte, error) {
	file, info, err := open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	if !info.Mode().IsRegular() {
		return nil, problem(name, ErrNotRegular)
	}
	return readAll(file, info, name, limit)
}

// Head returns the first bytes of a regular file, at most limit of them, and how many the file has in all. Errors
// are those of the file system and [ErrNotRegular], each with the name. It may be called at once from any goroutine.
func Head(name string, limit int64) (head []byte, size int64, err error) {
	file, info, err := open(name)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	if !info.Mode().IsRegular() {
		return nil, 0, problem(name, ErrNotRegular)
	}
	head, err = io.ReadAll(io.LimitReader(file, limit))
	return head, info.Size(), err
}

// ReadPiped is [Read] for what is read once: the name may also be that of a pipe, such as
// a shell's <(COMMAND) makes, or of a character device. A pipe is given up when it has not
// ended within patience. A named pipe that nobody writes to is empty.
func ReadPiped(name string, limit int64, patience time.Duration) ([]byte, error) {
	file, info, err := open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	if info.Mode().IsRegular() {
		return readAll(file, info, name, limit)
	}
	if info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0 {
		return nil, problem(name, ErrNotRegular)
	}
	if err := file.SetReadDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return nil, err
	}
	data, err := readAll(file, info, name, limit)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%s: it is a pipe that has not ended within %v: %w", name, patience, os.ErrDeadlineExceeded)
	}
	return data, err
}

// ReadPair returns the certificate with its key that two regular files hold, in PEM, each
// of at most limit bytes. Errors hold nothing of the key.
func ReadPair(certFile, keyFile string, limit int64) (tls.Certificate, error) {
	cert, err := Read(certFile, limit)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := Read(keyFile, limit)
	if err != nil {
		return tls.Certificate{}, err
	}
	defer clear(key)
	return tls.X509KeyPair(cert, key)
}

// Append opens a file to append to, and makes it with the permissions perm if it is not
// there. The name may also be that of a named pipe or a character device: writing to a pipe
// waits for its reader, and [os.File.Close] ends that wait. A named pipe without a reader is
// [ErrNoReader]; what is neither (a folder, a socket, a disk) is another error.
func Append(name string, perm fs.FileMode) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, perm)
	if errors.Is(err, syscall.ENXIO) {
		if info, unknown := os.Stat(name); unknown == nil && info.Mode()&fs.ModeNamedPipe != 0 {
			return nil, problem(name, ErrNoReader)
		}
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0 {
		err = problem(name, ErrNotRegular)
	}
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, err
	}
	return file, nil
}

// open opens for reading, and says what it opened.
func open(name string) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // nothing was read
		return nil, nil, err
	}
	return file, info, nil
}

func readAll(file *os.File, info fs.FileInfo, name string, limit int64) ([]byte, error) {
	var data bytes.Buffer
	data.Grow(int(min(info.Size(), limit)) + bytes.MinRead) // a large file is not copied while it is read
	_, err := data.ReadFrom(io.LimitReader(file, limit+1))
	if err == nil && int64(data.Len()) > limit {
		err = fmt.Errorf("%s: %w: it has more than %d bytes", name, ErrTooLarge, limit)
	}
	if err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

func problem(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }
