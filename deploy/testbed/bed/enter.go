package bed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Enter runs a command, or a shell if there is none, in the namespaces of the bed in a folder, or
// of the only one that runs if folder is empty. It returns an ExitError if the command's status
// is not 0. It must be called in a process that does nothing else.
func Enter(folder string, command []string) error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	folder, pid, err := locate(folder)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		shell := os.Getenv("SHELL")
		if shell == "" {
			shell = "/bin/sh"
		}
		command = []string{shell}
	}
	// The namespaces are those of one thread, which ends with the process.
	runtime.LockOSThread()
	if err := join(pid); err != nil {
		return err
	}
	child := exec.Command(command[0], command[1:]...) //nolint:gosec // it is the caller's own command
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = environment(folder)
	err = child.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return ExitError(exit.ExitCode())
	}
	return err
}

func locate(folder string) (string, int, error) {
	if folder == "" {
		return find()
	}
	text, err := os.ReadFile(filepath.Join(folder, pidFile))
	if err != nil {
		return "", 0, fmt.Errorf("no testbed runs in %s: %w", folder, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return folder, pid, err
}

// join moves the thread into the namespaces of a process.
func join(pid int) error {
	// A thread may change its mounts only if it shares its root with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	var files []*os.File
	kinds := []struct {
		name string
		flag int
	}{{"net", unix.CLONE_NEWNET}, {"pid", unix.CLONE_NEWPID}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"mnt", unix.CLONE_NEWNS}}
	// All are opened before /proc is another one.
	for _, kind := range kinds {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind.name))
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // it was only used to join
		files = append(files, file)
	}
	for i, kind := range kinds {
		if err := unix.Setns(int(files[i].Fd()), kind.flag); err != nil {
			return fmt.Errorf("join the testbed's %s namespace: %w", kind.name, err)
		}
	}
	return nil
}
