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
	"syscall"
	"time"

	"gridrouter.io/deploy/testbed/cluster"
	"gridrouter.io/deploy/testbed/images"
	"gridrouter.io/deploy/testbed/services"
)

// Variable is set in the environment of programs that run in a bed, to the bed's folder.
const Variable = "GRIDROUTER_TESTBED"

// listenerFile is the descriptor of the listener on the machine's loopback.
const listenerFile = 3

// Supervise runs the cluster of a bed until its command ends, or it is asked to stop. It returns
// an ExitError if the command's status is not 0.
func Supervise(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return supervise(ctx, text)
}

func supervise(ctx context.Context, text string) error {
	var order order
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	begin := time.Now()
	progress := func(line string) {
		fmt.Fprintf(os.Stderr, "testbed: %5.1fs %s\n", time.Since(begin).Seconds(), line)
	}
	mapped := &images.Map{}
	for _, image := range order.Images {
		if err := mapped.Add(image); err != nil {
			return err
		}
	}
	listener, err := net.FileListener(os.NewFile(listenerFile, "listener"))
	if err != nil {
		return err
	}
	defer listener.Close() //nolint:errcheck // it is no longer needed
	running, err := cluster.Start(ctx, cluster.Options{
		Folder:       order.Folder,
		Kubernetes:   order.Kubernetes,
		Port:         order.Port,
		Nodes:        order.Nodes,
		PretendNodes: order.PretendNodes,
		Images:       mapped,
		Progress:     progress,
	})
	if err != nil {
		return err
	}
	defer func() {
		progress("stopping")
		running.Stop()
		progress("stopped")
	}()
	go services.Forward(listener, fmt.Sprintf("127.0.0.1:%d", order.Port))
	if err := linkKubectl(order); err != nil {
		return err
	}
	if len(order.Command) == 0 {
		fmt.Print(greeting(order.Folder))
		select {
		case <-ctx.Done():
			return nil
		case err := <-running.Failed():
			return err
		}
	}
	return runCommand(ctx, order, running)
}

// greeting tells a person how to use the cluster.
func greeting(folder string) string {
	return fmt.Sprintf(`
The cluster runs until Ctrl-C. In another terminal:

    export KUBECONFIG=%[1]s
    export PATH=%[2]s:$PATH
    kubectl get nodes

Pods and Services have addresses only in the testbed's own network. A shell in it, as root:

    %[3]s enter

Logs are in %[4]s.
`, cluster.Kubeconfig(folder), binaries(folder), os.Args[0], filepath.Join(folder, "logs"))
}

func binaries(folder string) string { return filepath.Join(folder, "bin") }

func linkKubectl(order order) error {
	if err := os.MkdirAll(binaries(order.Folder), 0o700); err != nil {
		return err
	}
	return os.Symlink(order.Kubernetes, filepath.Join(binaries(order.Folder), "kubectl"))
}

// runCommand runs the command, and ends it when the cluster fails or the bed shall stop.
func runCommand(ctx context.Context, order order, running *cluster.Cluster) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-running.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	command := exec.CommandContext(ctx, order.Command[0], order.Command[1:]...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 5 * time.Second
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.Env = environment(order.Folder)
	err := command.Run()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return ExitError(exit.ExitCode())
	case ctx.Err() != nil && command.ProcessState != nil && command.ProcessState.Success():
		return nil // it was asked to stop, and did so in order
	}
	return err
}

// environment is that of programs which use the cluster.
func environment(folder string) []string {
	return append(os.Environ(),
		Variable+"="+folder,
		"KUBECONFIG="+cluster.Kubeconfig(folder),
		"PATH="+binaries(folder)+":"+os.Getenv("PATH"))
}
