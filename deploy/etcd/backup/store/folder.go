package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// unfinished is how the names of files begin that are still being written.
const unfinished = ".unfinished-"

// Folder is a store in a folder, such as a mounted volume.
type Folder struct{ dir string }

var _ Store = (*Folder)(nil)

// OpenFolder returns a store in a folder that is there. It is not made: a volume that is not mounted
// would go unseen.
func OpenFolder(dir string) (*Folder, error) {
	f := &Folder{dir: filepath.Clean(dir)}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, f.fault("open", "", err)
	}
	if !info.IsDir() {
		return nil, fault(f, "open", "", ErrNoBucket, errors.New("it is no folder"))
	}
	return f, nil
}

// String is the path.
func (f *Folder) String() string { return "folder " + f.dir }

// Put writes a file of another name, and gives it its own when all of it is on the disk.
func (f *Folder) Put(ctx context.Context, name string, r io.Reader, _ int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	path := f.path(name)
	if _, err := os.Lstat(path); err == nil {
		return fault(f, "write", name, ErrExists, fs.ErrExist)
	}
	if err := f.makeParent(path); err != nil {
		return f.fault("write", name, err)
	}
	temporary, err := writeTemporary(ctx, filepath.Dir(path), r)
	if err != nil {
		return f.fault("write", name, err)
	}
	err = moveNew(temporary, path)
	if err != nil {
		_ = os.Remove(temporary)
		return f.fault("write", name, err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return f.fault("write", name, err)
	}
	return nil
}

// makeParent makes the folder that a file is to be in, below the store's own.
func (f *Folder) makeParent(path string) error {
	parent := filepath.Dir(path)
	if _, err := os.Stat(parent); err == nil {
		return nil
	}
	if _, err := os.Stat(f.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(parent, 0o750); err != nil {
		return err
	}
	for dir := parent; dir != f.dir; dir = filepath.Dir(dir) {
		if err := syncFolder(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// writeTemporary writes a new file that is on the disk when it returns, and leaves none if it fails.
func writeTemporary(ctx context.Context, dir string, r io.Reader) (name string, err error) {
	file, err := os.CreateTemp(dir, unfinished+"*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(file, &cancelled{ctx, r})
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}

// moveNew gives a file its name, unless that is taken. Where the file system knows no links, two who
// move at the same moment are not kept apart.
func moveNew(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		return os.Remove(from)
	case errors.Is(err, fs.ErrExist):
		return err
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EMLINK):
		if _, err := os.Lstat(to); err == nil {
			return fs.ErrExist
		}
		return os.Rename(from, to)
	}
	return err
}

// Get opens a file.
func (f *Folder) Get(_ context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := f.path(name)
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, f.fault("read", name, err)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, f.fault("read", name, err)
	}
	return file, nil
}

// List walks the folder.
func (f *Folder) List(ctx context.Context, prefix string) (objects []Object, err error) {
	within, _ := filepath.Split(filepath.FromSlash(prefix))
	err = f.walk(ctx, within, func(path string, info fs.FileInfo) error {
		name, err := filepath.Rel(f.dir, path)
		if name = filepath.ToSlash(name); err == nil && strings.HasPrefix(name, prefix) && checkName(name) == nil {
			objects = append(objects, Object{Name: name, Size: info.Size(), Modified: info.ModTime().UTC()})
		}
		return err
	})
	if err != nil {
		return nil, f.fault("list", "", err)
	}
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return objects, nil
}

// walk calls visit for each regular file within a folder of the store, which need not be there; empty: all of
// it. What vanishes meanwhile, and what others keep in a volume
// that is not for us (lost+found), is passed over.
func (f *Folder) walk(ctx context.Context, within string, visit func(path string, info fs.FileInfo) error) error {
	if _, err := os.Stat(f.dir); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(f.dir, within), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && path == f.dir:
			return err
		case err != nil && entry != nil && entry.IsDir() && checkName(entry.Name()) != nil:
			return fs.SkipDir
		case err != nil:
			return unlessGone(err)
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err == nil {
			return visit(path, info)
		}
		return unlessGone(err)
	})
}

// unlessGone is an error, but for that something is not there.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Delete removes a file, and its folder when that was the last one in it.
func (f *Folder) Delete(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	path := f.path(name)
	if err := unlessGone(os.Remove(path)); err != nil {
		return f.fault("delete", name, err)
	}
	f.removeEmpty(filepath.Dir(path))
	return nil
}

// removeEmpty removes folders, from one on up to the store's own, until something is in one.
func (f *Folder) removeEmpty(dir string) {
	for dir != f.dir && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
}

// Sweep removes files that were never finished.
func (f *Folder) Sweep(ctx context.Context, before time.Time) (removed int, err error) {
	err = f.walk(ctx, "", func(path string, info fs.FileInfo) error {
		if !strings.HasPrefix(filepath.Base(path), unfinished) || !info.ModTime().Before(before) {
			return nil
		}
		if err := unlessGone(os.Remove(path)); err != nil {
			return err
		}
		removed++
		return nil
	})
	if err != nil {
		return removed, f.fault("sweep", "", err)
	}
	return removed, nil
}

func (f *Folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

// fault says of which kind an error of the file system is.
func (f *Folder) fault(did, name string, err error) error {
	var kind error
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		kind = ErrNoSpace
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		kind = ErrForbidden
	case errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ETIMEDOUT):
		kind = ErrUnreachable
	case errors.Is(err, fs.ErrExist):
		kind = ErrExists
	case errors.Is(err, fs.ErrNotExist):
		kind = ErrNotFound
		if _, err := os.Stat(f.dir); err != nil {
			kind = ErrNoBucket
		}
	}
	return fault(f, did, name, kind, err)
}

// syncFolder has the names in a folder outlive a crash.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // a file system that has no such thing
	}
	if closeErr := folder.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// cancelled ends a read when its context ends.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
