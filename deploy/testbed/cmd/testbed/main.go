// Command testbed runs a Kubernetes cluster whose pods are processes; see docs/TESTBED.md.
//
//	testbed up [flags]                  runs a cluster until Ctrl-C
//	testbed run [flags] command ...     runs a cluster as long as a command in it runs
//	testbed enter [--dir folder] [command ...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"gridrouter.io/deploy/testbed/bed"
	"gridrouter.io/deploy/testbed/container"
)

const usage = `usage:
  testbed up [flags]                           a cluster until Ctrl-C
  testbed run [flags] command [arguments]      a cluster as long as the command runs in it
  testbed enter [--dir folder] [command ...]   a command, or a shell, in a testbed that runs
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	err := dispatch(os.Args[1], os.Args[2:])
	var exit bed.ExitError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &exit):
		os.Exit(int(exit))
	default:
		fmt.Fprintln(os.Stderr, "testbed:", err)
		os.Exit(1)
	}
}

func dispatch(name string, arguments []string) error {
	switch name {
	case "up", "run":
		return start(name, arguments)
	case "enter":
		return enter(arguments)
	// The processes that the testbed starts of itself.
	case bed.FirstArgument:
		bed.First(arguments[0])
		return nil
	case bed.SuperviseArgument:
		return bed.Supervise(arguments[0])
	case container.Argument:
		_ = container.Become() // it has told who started it
		return bed.ExitError(127)
	default:
		fmt.Fprint(os.Stderr, usage)
		return bed.ExitError(2)
	}
}

func start(name string, arguments []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends the process at once, and the bed with it.
	context.AfterFunc(ctx, stop)
	options, err := parse(name, arguments)
	if err != nil {
		return err
	}
	return bed.Run(ctx, options)
}

func enter(arguments []string) error {
	flags := flag.NewFlagSet("testbed enter", flag.ContinueOnError)
	folder := flags.String("dir", "", "the testbed's folder, if several run")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	return bed.Enter(*folder, flags.Args())
}

var errCommand = errors.New("run needs a command, and up takes none")

func parse(name string, arguments []string) (bed.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return bed.Options{}, err
	}
	var options bed.Options
	flags := flag.NewFlagSet("testbed "+name, flag.ContinueOnError)
	flags.StringVar(&options.Kubernetes, "kubernetes", filepath.Join(filepath.Dir(self), "kubernetes"), "the binary of cmd/kubernetes")
	flags.IntVar(&options.Nodes, "nodes", 3, "nodes that run pods as processes, at most 100")
	flags.IntVar(&options.PretendNodes, "pretend-nodes", 0, "nodes whose pods only pretend to run, at most 100")
	flags.BoolVar(&options.Keep, "keep", false, "leave the folder with the logs when the testbed ends")
	flags.Func("image", "an image, as `name[:tag]=path[,entrypoint=program][,user=uid[:gid]]`; may be given several times", func(text string) error {
		options.Images = append(options.Images, text)
		return nil
	})
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	options.Command = flags.Args()
	switch {
	case (name == "run") != (len(options.Command) > 0):
		return options, errCommand
	case options.Nodes < 0 || options.Nodes > 100 || options.PretendNodes < 0 || options.PretendNodes > 100:
		return options, errors.New("at most 100 nodes of a kind")
	}
	if os.Geteuid() != 0 {
		return options, bed.ErrNotRoot
	}
	if _, err := os.Stat(options.Kubernetes); err != nil {
		return options, fmt.Errorf("%w; make testbed builds it", err)
	}
	return options, nil
}
