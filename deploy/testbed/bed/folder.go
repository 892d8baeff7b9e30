package bed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	folderPattern = "gridrouter-testbed-*"
	pidFile       = "pid"  // has the number of the bed's first process
	lockFile      = "lock" // is locked while the bed lives
)

// folder is where a bed has its files. It is locked as long as the process lives that made it.
type folder struct {
	path string
	lock *os.File
}

// newFolder makes a folder under a name that sweep does not know, until it is locked.
func newFolder() (*folder, error) {
	made, err := os.MkdirTemp("", "gridrouter-new-testbed-*")
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(made, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(made))
	}
	path := strings.Replace(made, "-new-", "-", 1)
	if err := os.Rename(made, path); err != nil {
		return nil, errors.Join(err, lock.Close(), os.RemoveAll(made))
	}
	return &folder{path, lock}, nil
}

// lockFolder fails if another process holds the lock.
func lockFolder(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(path, lockFile), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return file, nil
}

func (f *folder) remove() {
	_ = os.RemoveAll(f.path)
	_ = f.lock.Close()
}

// sweep removes folders of beds that were killed. All else of them the kernel took away.
func sweep() {
	for _, path := range folders() {
		if lock, err := lockFolder(path, os.O_RDWR); err == nil {
			_ = os.RemoveAll(path)
			_ = lock.Close()
		}
	}
}

func folders() []string {
	all, err := filepath.Glob(filepath.Join(os.TempDir(), folderPattern))
	if err != nil {
		return nil // the pattern is good
	}
	return all
}

var errWhichBed = errors.New("no testbed runs")

// find gives the folder of the bed that runs, and the number of its first process.
func find() (path string, pid int, err error) {
	var running []string
	for _, candidate := range folders() {
		if lock, err := lockFolder(candidate, os.O_RDWR); err == nil {
			_ = lock.Close() // nobody holds it
			continue
		}
		text, err := os.ReadFile(filepath.Join(candidate, pidFile))
		if err != nil {
			continue
		}
		if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			running, path = append(running, candidate), candidate
		}
	}
	switch len(running) {
	case 0:
		return "", 0, errWhichBed
	case 1:
	default:
		return "", 0, fmt.Errorf("several testbeds run, name one by --dir: %s", strings.Join(running, ", "))
	}
	return path, pid, nil
}
