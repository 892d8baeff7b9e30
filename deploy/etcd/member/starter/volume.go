package starter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// probeBytes is what must fit beside the data.
const probeBytes = 4096

// probe refuses a folder of data, and etcd's own folders within, that cannot be read and written. The folder is made
// if it is absent, as etcd would.
func probe(dataDir string) error {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return unusable(err)
	}
	for _, folder := range []string{dataDir, memberDir(dataDir), memberDir(dataDir, "wal"), memberDir(dataDir, "snap")} {
		_, err := os.ReadDir(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			// etcd knows such a name in none of them, and one name means that tries that were killed leave one file.
			path := filepath.Join(folder, ".gridrouter-probe.tmp")
			err = errors.Join(write(path, make([]byte, probeBytes)), remove(path))
		}
		if err != nil {
			return unusable(err)
		}
	}
	return nil
}

// mark says whether a token is new, and remembers that it no longer is. The mark lies beside the folder of data and on
// the same volume, so that it outlives a folder that is put in its place. It is on the disk before mark returns: a
// token is lost rather than used twice, when the machine stops in between.
func mark(dataDir, token string) (first bool, err error) {
	volume := filepath.Dir(filepath.Clean(dataDir))
	path := filepath.Join(volume, ".etcd-forced-new-cluster-"+token)
	switch _, err := os.Stat(path); {
	case err == nil:
		return false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, unusable(err)
	}
	temporary := filepath.Join(dataDir, ".gridrouter-mark.tmp")
	if err := write(temporary, nil); err != nil {
		return false, errors.Join(unusable(err), remove(temporary))
	}
	// A file cannot be moved onto another volume, so this also tells where the folder is the root of its own.
	if err := os.Rename(temporary, path); err != nil {
		if errors.Is(err, syscall.EXDEV) {
			err = usagef("--data-dir: %s is the root of its volume, and --force-new-cluster needs a folder within: write %s/data", dataDir, dataDir)
		} else {
			err = unusable(err)
		}
		return false, errors.Join(err, remove(temporary))
	}
	if err := syncFolder(volume); err != nil {
		return false, unusable(err)
	}
	return true, nil
}

// write makes a file in the place of what is there, and brings it to the disk.
func write(path string, content []byte) error {
	if err := remove(path); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncFolder brings the names in a folder to the disk.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
