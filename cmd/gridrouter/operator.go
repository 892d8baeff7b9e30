//go:build !slim

package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/operator"
	"gridrouter.io/discovery/files"
)

// podNamespace is the file in which a pod finds the namespace that it is in.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// operatorFlags are the flags of "gridrouter operator".
type operatorFlags struct {
	kubeconfig, namespace, image string
	etcdImage, toolsImage        string
	watch                        []string
	health, metrics, metricsAPI  string
	election                     operator.Election
	logLevel                     string
}

// newOperatorCommand returns "gridrouter operator".
func newOperatorCommand() *cobra.Command {
	f := &operatorFlags{}
	cmd := &cobra.Command{
		Use:   "operator",
		Short: "Keep fleets of routers in Kubernetes at what their GridRouter objects say",
		Long: `operator runs in Kubernetes and keeps fleets of routers there: what a GridRouter object asks for is made,
scaled, upgraded, healed and removed. Of several operators one leads, and the others stand by.

"gridrouter operator manifests" prints all that an installation needs: kinds, rights and the operator itself.

SIGTERM and SIGINT end it: it finishes what it is at and lets the next one lead. A second one ends it at
once and with exit status 1.`,
		Example: `  gridrouter operator manifests | kubectl apply -f -
  gridrouter operator --kubeconfig ~/.kube/config --namespace gridrouter-system`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runOperator(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "`FILE` that says how to reach Kubernetes, by its current context (default: the cluster that the operator runs in)")
	fs.StringVar(&f.namespace, "namespace", "", "`NAME` of the operator's own namespace, where its Lease is (default that of its pod)")
	fs.StringSliceVar(&f.watch, "watch", nil, "`NAMESPACES` whose fleets are kept, separated by commas (default all)")
	fs.StringVar(&f.image, "image", "gridrouter", "`IMAGE` of fleets that name none, without a tag")
	fs.StringVar(&f.etcdImage, "etcd-image", "etcd", "`IMAGE` of etcd clusters that name none, without a tag")
	fs.StringVar(&f.toolsImage, "tools-image", "", "`IMAGE` of gridrouter, with its tag, that runs beside etcd in its pods (default that of --image with the tag of this version)")
	fs.StringVar(&f.health, "health", "", "`ADDR` to serve /healthz and /readyz at (default none)")
	fs.StringVar(&f.metrics, "metrics", "", "`ADDR` to serve GET /metrics at (default none)")
	fs.StringVar(&f.metricsAPI, "metrics-api", "", "`ADDR` to serve the metrics API for autoscalers at, over TLS (default none)")
	fs.DurationVar(&f.election.Duration, "lease-duration", 15*time.Second, "after how long without a sign of its leader the Lease is taken by another operator")
	fs.DurationVar(&f.election.Renew, "lease-renew", 10*time.Second, "after how long without a renewal a leader stops")
	fs.DurationVar(&f.election.Retry, "lease-retry", 2*time.Second, "how often the Lease is renewed, or asked for")
	registerLogLevel(fs, &f.logLevel)
	cmd.AddCommand(newManifestsCommand(), newDiagramCommand())
	return cmd
}

// runOperator runs until a signal or a fault.
func runOperator(ctx context.Context, f *operatorFlags) error {
	ignoreBrokenPipes()
	told := watchSignals("gridrouter operator")
	defer told.end()
	log, _, err := newLogger(f.logLevel)
	if err != nil {
		return err
	}
	told.log.Store(log)
	config, err := f.config(log)
	if err != nil {
		return err
	}
	if err = f.listen(ctx, &config); err != nil {
		return err
	}
	operator.CaptureLogs(log)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told.running.Store(true)
	go func() {
		select {
		case got := <-told.stop:
			log.Info("operator ends", zap.Stringer("because", got))
			stop()
		case <-ctx.Done():
		}
	}()
	log.Info("operator started", zap.String("version", flags.BuildVersion(version)))
	err = operator.Run(ctx, config)
	log.Info("operator ended", zap.Error(err))
	return err
}

// config reads the flags; nothing is opened yet but files.
func (f *operatorFlags) config(log *zap.Logger) (config operator.Config, err error) {
	config = operator.Config{
		Namespace: f.namespace, Watch: f.watch, Image: f.image, EtcdImage: f.etcdImage, ToolsImage: f.toolsImage, Election: f.election, Log: log,
		Address:    os.Getenv("POD_IP"),
		Collectors: []prometheus.Collector{newBuildInfo()},
	}
	if err = f.election.Check(); err != nil {
		return config, flags.Usagef("--lease-duration, --lease-renew, --lease-retry: %w", err)
	}
	if config.Namespace == "" {
		if config.Namespace, err = ownNamespace(podNamespace); err != nil {
			return config, err
		}
	}
	for _, namespace := range append([]string{config.Namespace}, f.watch...) {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return config, flags.Usagef("--namespace, --watch: %q is not a name of a namespace", namespace)
		}
	}
	if _, tag, _ := strings.Cut(f.image[strings.LastIndexByte(f.image, '/')+1:], ":"); f.image == "" || tag != "" {
		return config, flags.Usagef("--image: %q is no image without a tag; a fleet's spec.version is the tag", f.image)
	}
	if _, tag, _ := strings.Cut(f.etcdImage[strings.LastIndexByte(f.etcdImage, '/')+1:], ":"); f.etcdImage == "" || tag != "" {
		return config, flags.Usagef("--etcd-image: %q is no image without a tag; a cluster's spec.version is the tag", f.etcdImage)
	}
	if config.ToolsImage == "" {
		config.ToolsImage = f.image + ":" + flags.BuildVersion(version)
	}
	config.Kubernetes, err = f.kubernetes()
	return config, err
}

// ownNamespace returns the namespace of the pod that this process is in.
func ownNamespace(file string) (string, error) {
	text, err := files.Read(file, 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return "", flags.Usagef("--namespace is needed outside of a cluster: the operator's Lease is there")
	}
	return strings.TrimSpace(string(text)), err
}

// kubernetes returns how the API server is reached.
func (f *operatorFlags) kubernetes() (*rest.Config, error) {
	if f.kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, flags.Usagef("--kubeconfig is needed outside of a cluster")
		}
		return config, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return nil, flags.Usagef("--kubeconfig: %w", err)
	}
	return config, nil
}

// listen opens the addresses, so that one that cannot be had is told before anything begins.
func (f *operatorFlags) listen(ctx context.Context, config *operator.Config) error {
	for _, l := range []struct {
		flag, addr string
		listener   *net.Listener
	}{{"health", f.health, &config.Health}, {"metrics", f.metrics, &config.Metrics}, {"metrics-api", f.metricsAPI, &config.MetricsAPI}} {
		if l.addr == "" {
			continue
		}
		if err := checkListenAddr(l.flag, l.addr); err != nil {
			return err
		}
		var err error
		if *l.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", l.addr); err != nil {
			return listenError(l.flag, err)
		}
	}
	return nil
}
