package starter

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Install copies the program of this process into a folder as gridrouter, which any user may run. Whoever looks sees
// there what was there before, or all of it. Of two at once in one folder, one may fail.
func Install(folder string) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	source, err := os.Open(path)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // it was only read
	// One name, so that tries that were killed leave one file at most.
	temporary := filepath.Join(folder, ".gridrouter.new")
	if err := copyTo(temporary, source); err != nil {
		return errors.Join(err, remove(temporary))
	}
	return os.Rename(temporary, filepath.Join(folder, "gridrouter"))
}

// copyTo makes a file that all may run.
func copyTo(path string, source io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(file, source); err == nil {
		err = file.Chmod(0o755) // any user runs it, whatever the umask is
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// remove removes a file that may be absent.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
