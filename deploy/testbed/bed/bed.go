// Package bed runs a cluster in namespaces that it makes for itself: its processes, mounts and
// network are apart from the machine's, and the kernel takes all of it away when the bed's first
// process ends, however that happens. Three processes take part:
//
//   - who is called (Run) makes a folder and a listener on the machine's loopback, starts the
//     first process, and removes the folder in the end;
//   - the first process of the new namespaces (First) has number 1 there, starts the supervisor,
//     and buries orphans;
//   - the supervisor (Supervise) runs the cluster, and a command in it if there is one.
package bed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// Arguments by which the testbed's binary is told which of the processes it is.
const (
	FirstArgument     = "first-process"
	SuperviseArgument = "supervise"
)

// Options say what runs in a bed.
type Options struct {
	// Kubernetes is the binary of cmd/kubernetes.
	Kubernetes string
	// Nodes and PretendNodes are the numbers of nodes of either kind.
	Nodes, PretendNodes int
	// Images are mappings as images.Map.Add reads them.
	Images []string
	// Command runs in the bed when the cluster is up, and the bed ends with it. If it is empty,
	// the bed runs until the context is done.
	Command []string
	// Keep says that the folder with the logs is not removed.
	Keep bool
}

// ErrNotRoot says that namespaces cannot be made.
var ErrNotRoot = errors.New("the testbed makes network namespaces and mounts, so it must be run as root")

// ExitError tells the exit status of the command, which is not 0.
type ExitError int

// Error names the status.
func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// order is what the other processes are told.
type order struct {
	Options
	Folder string
	Port   int
}

// Run runs a bed until its command ends or the context is done, and leaves nothing of it behind.
// If the caller's process is killed, the bed is killed with it, and its folder is removed by the
// next Run. It must be called from the main goroutine, in a process that does nothing else.
func Run(ctx context.Context, options Options) error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	// The kernel kills the bed when the thread ends that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sweep()
	folder, err := newFolder()
	if err != nil {
		return err
	}
	if !options.Keep {
		defer folder.remove()
	}
	// It belongs to the machine's network, while the bed accepts from it: so the API server can
	// be reached from outside.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close() //nolint:errcheck // it is no longer needed
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only handed on
	command, err := startFirst(order{options, folder.path, listener.Addr().(*net.TCPAddr).Port}, file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder.path, pidFile), []byte(strconv.Itoa(command.Process.Pid)), 0o600); err != nil {
		_ = command.Process.Kill()
		return errors.Join(err, command.Wait())
	}
	stop := context.AfterFunc(ctx, func() { _ = command.Process.Signal(syscall.SIGTERM) })
	defer stop()
	err = command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return ExitError(exit.ExitCode())
	}
	return err
}

// startFirst starts the first process of new namespaces.
func startFirst(order order, listener *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	command := exec.Command(self, FirstArgument, string(text))
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.ExtraFiles = []*os.File{listener}
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		// A Ctrl-C at the terminal reaches Run alone, which then stops the bed in order.
		Setpgid: true,
	}
	return command, command.Start()
}

// First is the first process of the bed's namespaces. It does not return.
func First(text string) {
	status, err := first(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		status = 1
	}
	os.Exit(status) // and the kernel kills whatever still runs
}

func first(text string) (int, error) {
	// Programs of any user look at what is made from here on, unless it says otherwise.
	syscall.Umask(0o022)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	var order order
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return 0, err
	}
	if err := isolate(order.Folder); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	command := exec.Command(self, SuperviseArgument, text)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.ExtraFiles = []*os.File{os.NewFile(listenerFile, "listener")}
	if err := command.Start(); err != nil {
		return 0, err
	}
	go func() {
		for range stop {
			_ = command.Process.Signal(syscall.SIGTERM)
		}
	}()
	return bury(command.Process.Pid)
}

// bury waits for all processes that have lost their parent, until the given child has ended,
// whose exit status it returns.
func bury(child int) (int, error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == child && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == child:
			return status.ExitStatus(), nil
		}
	}
}
