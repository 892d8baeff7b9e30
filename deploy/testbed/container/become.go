package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Become makes the calling process the container that the spec in its descriptors describes. It
// returns only if that fails, after it has told who started it.
func Become() error {
	// Namespaces and users are matters of threads: all of it is done in the one that becomes the
	// program.
	runtime.LockOSThread()
	err := become()
	_, _ = fmt.Fprint(os.NewFile(resultFile, "result"), err) // if nobody listens, there is nobody to tell
	return err
}

func become() error {
	var spec Spec
	file := os.NewFile(specFile, "spec")
	if err := json.NewDecoder(file).Decode(&spec); err != nil {
		return fmt.Errorf("the container's description: %w", err)
	}
	_ = file.Close()
	unix.CloseOnExec(resultFile)
	if spec.OwnNetwork {
		if err := unix.Setns(netFile, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("join the pod's network: %w", err)
		}
		_ = unix.Close(netFile)
	}
	enter := makeContainer
	if spec.Join != 0 {
		enter = joinContainer
	}
	if err := enter(&spec); err != nil {
		return err
	}
	if err := enterWorkingDir(&spec); err != nil {
		return err
	}
	if err := becomeUser(&spec); err != nil {
		return err
	}
	return run(spec.Arguments, spec.Environment)
}

func makeContainer(spec *Spec) error {
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	return makeRoot(spec)
}

// joinContainer moves into the root of another process. Its mount namespace stays closed to a
// program of several threads, but the root in it can be reached through /proc.
func joinContainer(spec *Spec) error {
	process := fmt.Sprintf("/proc/%d", spec.Join)
	for name, kind := range map[string]int{"uts": unix.CLONE_NEWUTS, "ipc": unix.CLONE_NEWIPC} {
		file, err := os.Open(process + "/ns/" + name)
		if err != nil {
			return fmt.Errorf("join the container: %w", err)
		}
		err = unix.Setns(int(file.Fd()), kind)
		_ = file.Close()
		if err != nil {
			return fmt.Errorf("join the container's %s: %w", name, err)
		}
	}
	if err := unix.Chroot(process + "/root"); err != nil {
		return fmt.Errorf("join the container's root: %w", err)
	}
	return os.Chdir("/")
}

func enterWorkingDir(spec *Spec) error {
	folder := spec.WorkingDir
	if folder == "" {
		folder = "/"
	}
	err := os.Chdir(folder)
	if errors.Is(err, os.ErrNotExist) && makeFolder(folder) == nil {
		err = os.Chdir(folder)
	}
	if err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	return nil
}

func becomeUser(spec *Spec) error {
	if err := boundCapabilities(spec.Capabilities); err != nil {
		return err
	}
	if spec.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no new privileges: %w", err)
		}
	}
	for _, step := range []struct {
		name string
		call func() error
	}{
		{"groups", func() error { return unix.Setgroups(spec.Groups) }},
		{"group", func() error { return unix.Setresgid(spec.GID, spec.GID, spec.GID) }},
		{"user", func() error { return unix.Setresuid(spec.UID, spec.UID, spec.UID) }},
	} {
		if err := step.call(); err != nil {
			return fmt.Errorf("become %s %d:%d: %w", step.name, spec.UID, spec.GID, err)
		}
	}
	return nil
}

// run replaces the process by the program. The messages are those that people know from runc.
func run(arguments, environment []string) error {
	path, err := lookUp(arguments[0], environment)
	if err != nil {
		return err
	}
	if err := unix.Exec(path, arguments, environment); err != nil {
		return fmt.Errorf("exec: %q: %w", arguments[0], err)
	}
	return nil
}

// lookUp finds a program in the PATH of its environment.
func lookUp(name string, environment []string) (string, error) {
	if strings.Contains(name, "/") {
		if _, err := os.Stat(name); err != nil {
			return "", fmt.Errorf("exec: %q: %w", name, err)
		}
		return name, nil
	}
	for _, variable := range environment {
		paths, found := strings.CutPrefix(variable, "PATH=")
		if !found {
			continue
		}
		for _, folder := range filepath.SplitList(paths) {
			path := filepath.Join(folder, name)
			if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}
