package bed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"gridrouter.io/deploy/testbed/network"
)

// isolate makes the mounts of the bed its own: /proc shows its processes, names are asked of its
// DNS server, and what kubelets write outside of their folders stays in memory.
func isolate(folder string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	layers := filepath.Join(folder, "layers")
	if err := os.Mkdir(layers, 0o700); err != nil {
		return err
	}
	// In memory, since not every file system may lie under another one.
	if err := unix.Mount("tmpfs", layers, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("layers: %w", err)
	}
	for _, path := range []string{"/var/log", "/var/lib"} {
		if err := layer(layers, path); err != nil {
			return fmt.Errorf("layer over %s: %w", path, err)
		}
	}
	resolver := filepath.Join(folder, "resolv.conf")
	text := "nameserver " + network.DNSService + "\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
	if err := os.WriteFile(resolver, []byte(text), 0o644); err != nil { //nolint:gosec // as /etc/resolv.conf is
		return err
	}
	// It is often a link. Where there is none, nobody would read it.
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return unix.Mount(resolver, target, "", unix.MS_BIND, "")
}

// layer lets a folder of the machine be seen and not be changed: what is written to it is gone
// with the bed.
func layer(layers, path string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	base := filepath.Join(layers, filepath.Base(path))
	upper, work := filepath.Join(base, "upper"), filepath.Join(base, "work")
	for _, made := range []string{upper, work} {
		if err := os.MkdirAll(made, 0o755); err != nil { //nolint:gosec // as the folder is that it lies over
			return err
		}
	}
	return unix.Mount("overlay", path, "overlay", 0, "lowerdir="+path+",upperdir="+upper+",workdir="+work)
}
