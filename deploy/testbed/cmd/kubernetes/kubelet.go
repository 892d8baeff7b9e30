package main

import (
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/util/oom"
)

// newKubeletCommand gives the real kubelet without its hold on the machine: it makes no cgroups,
// sets nothing of the kernel, and states a size of the node that it is told, so that several of
// them run side by side on any machine. All that concerns pods is the kubelet's own: volumes,
// probes, restarts, statuses, logs and the node's heartbeats.
func newKubeletCommand() *cobra.Command {
	flags := options.NewKubeletFlags()
	config, err := options.NewKubeletConfiguration()
	command := &cobra.Command{Use: "kubelet", SilenceUsage: true}
	if err != nil {
		command.RunE = func(*cobra.Command, []string) error { return err }
		return command
	}
	size := machine{}
	config.CgroupsPerQOS = false
	config.EnforceNodeAllocatable = nil
	config.FailCgroupV1 = false // none is used
	config.FailSwapOn = false
	config.EvictionHard = nil
	config.ImageGCHighThresholdPercent = 100 // no images are ever removed
	flags.AddFlags(command.Flags())
	options.AddKubeletConfigFlags(command.Flags(), config)
	command.Flags().IntVar(&size.cores, "node-cores", 16, "the CPUs that the node says it has")
	command.Flags().Var(&size.memory, "node-memory", "the memory that the node says it has")
	size.memory.Quantity = resource.MustParse("64Gi")
	pretend := command.Flags().Bool("pretend", false, "call every container ready, and probe none")
	command.RunE = func(*cobra.Command, []string) error {
		ctx := genericapiserver.SetupSignalContext()
		config.PodLogsDir = filepath.Join(flags.RootDirectory, "logs")
		server := &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *config}
		dependencies, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
		if err != nil {
			return err
		}
		dependencies.CAdvisorInterface = &size
		dependencies.ContainerManager = containers{cm.NewStubContainerManager()}
		dependencies.OOMAdjuster = oom.NewFakeOOMAdjuster()
		if *pretend {
			dependencies.ProbeManager = pretence{}
		}
		return app.Run(ctx, server, dependencies, utilfeature.DefaultFeatureGate)
	}
	return command
}
