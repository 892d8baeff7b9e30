package container

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// makeRoot puts the root together, in the process's own mount namespace, and moves into it.
// Whatever the program writes lies in memory and is gone with the container.
func makeRoot(spec *Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("tmpfs", spec.Folder, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("writable layer: %w", err)
	}
	root := filepath.Join(spec.Folder, "root")
	layer := imageOfProgram
	if spec.ImageFolder {
		layer = imageOfFolder
	}
	if err := layer(spec, root); err != nil {
		return fmt.Errorf("image %s: %w", spec.Image, err)
	}
	if err := mountSystem(root); err != nil {
		return err
	}
	for path, text := range spec.Files {
		if err := writeFile(within(root, path), text); err != nil {
			return err
		}
	}
	for _, mount := range spec.Mounts {
		if err := bind(mount, root); err != nil {
			return fmt.Errorf("mount at %s: %w", mount.Path, err)
		}
	}
	if spec.ReadOnly {
		if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("read-only root: %w", err)
		}
	}
	return moveTo(root)
}

// imageOfFolder lays a writable layer over a folder.
func imageOfFolder(spec *Spec, root string) error {
	upper, work := filepath.Join(spec.Folder, "upper"), filepath.Join(spec.Folder, "work")
	for _, folder := range []string{root, upper, work} {
		if err := makeFolder(folder); err != nil {
			return err
		}
	}
	return unix.Mount("overlay", root, "overlay", 0, "lowerdir="+spec.Image+",upperdir="+upper+",workdir="+work)
}

// imageOfProgram makes a root that has one program in it and nothing else.
func imageOfProgram(spec *Spec, root string) error {
	if err := makeFolder(root); err != nil {
		return err
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	temporary := filepath.Join(root, "tmp")
	if err := makeFolder(temporary); err != nil {
		return err
	}
	if err := os.Chmod(temporary, 0o777|os.ModeSticky); err != nil {
		return err
	}
	return bind(Mount{Host: spec.Image, Path: "/" + filepath.Base(spec.Image), ReadOnly: true}, root)
}

// mountSystem gives the root what every program may expect: /proc of its own processes, the
// harmless devices, and no others.
func mountSystem(root string) error {
	for _, folder := range []string{"proc", "dev", "etc"} {
		if err := makeFolder(filepath.Join(root, folder)); err != nil {
			return err
		}
	}
	const strict = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", strict, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	dev := filepath.Join(root, "dev")
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		if err := bind(Mount{Host: "/dev/" + name, Path: "/dev/" + name}, root); err != nil {
			return fmt.Errorf("/dev/%s: %w", name, err)
		}
	}
	shared := filepath.Join(dev, "shm")
	if err := makeFolder(shared); err != nil {
		return err
	}
	if err := unix.Mount("shm", shared, "tmpfs", strict, "mode=1777"); err != nil {
		return fmt.Errorf("/dev/shm: %w", err)
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	return nil
}

// bind shows a file or folder of the host within the root.
func bind(mount Mount, root string) error {
	info, err := os.Stat(mount.Host)
	if err != nil {
		return err
	}
	target := within(root, mount.Path)
	if info.IsDir() {
		err = makeFolder(target)
	} else if _, statErr := os.Stat(target); statErr != nil {
		err = writeFile(target, "")
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(mount.Host, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !mount.ReadOnly {
		return nil
	}
	return unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// writeFile writes a new file. A link that an image has at its place is replaced and not
// followed, since it was meant for another root.
func writeFile(path, text string) error {
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // programs of any user read it
}

// makeFolder makes a folder with all above it.
func makeFolder(path string) error {
	return os.MkdirAll(path, 0o755) //nolint:gosec // programs of any user look into it
}

// within gives where a path of the container lies on the host, which is never outside the root.
func within(root, path string) string { return filepath.Join(root, filepath.Join("/", path)) }

// moveTo makes a folder the root and lets go of the old one.
func moveTo(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// Both roots lie at the same place for a moment; what is unmounted is the upper one, the old.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("new root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("old root: %w", err)
	}
	return os.Chdir("/")
}
