// Command kubernetes is a whole Kubernetes in one binary: etcd, the API server, the controller
// manager, the scheduler, the kubelet, and kubectl for people. It is built from the published Go
// modules of those projects and changes nothing in them. Which of them it is, it tells by the
// name it was started by, or by its first argument:
//
//	kubernetes etcd --data-dir=...
//	ln -s kubernetes kubectl && ./kubectl get nodes
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the metrics of client-go
	_ "k8s.io/component-base/metrics/prometheus/version"  // the metric of the version
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	name := filepath.Base(os.Args[0])
	if program(name) == nil {
		if len(os.Args) < 2 || program(os.Args[1]) == nil {
			fmt.Fprintln(os.Stderr, "usage: kubernetes etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet|kubectl [flags]")
			os.Exit(2)
		}
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	os.Exit(program(name)())
}

// program gives the program of that name, which returns its exit status, or nil.
func program(name string) func() int {
	command := func(create func() *cobra.Command) func() int {
		return func() int { return cli.Run(create()) }
	}
	switch name {
	case "etcd":
		return func() int { etcdmain.Main(os.Args); return 0 }
	case "kube-apiserver":
		return command(apiserver.NewAPIServerCommand)
	case "kube-controller-manager":
		return command(controllermanager.NewControllerManagerCommand)
	case "kube-scheduler":
		return command(func() *cobra.Command { return scheduler.NewSchedulerCommand() })
	case "kubelet":
		return command(newKubeletCommand)
	case "kubectl":
		return command(kubectl.NewDefaultKubectlCommand)
	default:
		return nil
	}
}
