//go:build !slim

package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/services"
)

// newFleetsCommand returns "gridctl fleets".
func newFleetsCommand(to *connection) *cobra.Command {
	k := &kubernetes{etcd: to}
	group := &cobra.Command{
		Use:   "fleets",
		Short: "Create, scale, upgrade, roll back and watch fleets of routers in Kubernetes",
		Long: `Works on fleets of routers that the operator runs in Kubernetes (kind GridRouter): it writes what is
wanted, and the operator does the work. It needs the API server of the cluster and no etcd.

"gridctl fleet", without s, is another command: it lists the routers that run under a prefix of
etcd, wherever they run, with the documents that each of them has.

The cluster is found as kubectl finds it: --kubeconfig, $KUBECONFIG, ~/.kube/config, else the
cluster in which this runs; --context and --namespace choose within it.

Other tools may write the same fleets. A field that another keeps by server-side apply (Argo CD,
Flux, kubectl apply --server-side) is not changed, unless --force-conflicts is given.
Exit status: 0 done, 1 a conflict, a fault, or a change that did not come to a good end or not in
time, 2 what is asked cannot be: then nothing was written.`,
		Example: `  gridctl fleets create edge --version 1.4.0 --replicas 3 --etcd-endpoints http://etcd:2379
  gridctl fleets list -A
  gridctl fleets upgrade edge 1.5.0 --timeout 30m
  gridctl fleets rollback edge`,
	}
	k.register(group.PersistentFlags())
	group.AddCommand(
		newFleetsListCommand(k), newFleetsGetCommand(k), newFleetsCreateCommand(k),
		newFleetsScaleCommand(k), newFleetsUpgradeCommand(k), newFleetsRollbackCommand(k),
		newFleetsPauseCommand(k), newFleetsResumeCommand(k), newFleetsDeleteCommand(k),
		newFleetsHistoryCommand(k), newFleetsEventsCommand(k),
	)
	hideEtcdFlags(group)
	return group
}

// kubernetes are the flags that say how a cluster is reached.
type kubernetes struct {
	etcd       *connection // its flags are of no use here; only its timeout bounds a call
	kubeconfig string
	context    string
	namespace  string
}

func (k *kubernetes) register(fs *pflag.FlagSet) {
	fs.StringVar(&k.kubeconfig, "kubeconfig", "", "`FILE` that says how the cluster is reached (default $KUBECONFIG, ~/.kube/config, or the cluster in which this runs)")
	fs.StringVar(&k.context, "context", "", "`NAME` of the context in it (default its current one)")
	fs.StringVarP(&k.namespace, "namespace", "n", "", "`NAMESPACE` of the fleet (default that of the context)")
}

// hideEtcdFlags leaves the flags about etcd out of the help of a group that has no use for them.
func hideEtcdFlags(group *cobra.Command) {
	show := group.HelpFunc()
	group.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		for _, name := range etcdFlags(cmd) {
			cmd.Root().PersistentFlags().Lookup(name).Hidden = true
		}
		show(cmd, args)
	})
}

// etcdFlags are the names of the flags of all commands that say how etcd is reached.
func etcdFlags(cmd *cobra.Command) []string {
	var names []string
	cmd.Root().PersistentFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "config" && flag.Name != "timeout" && flag.Name != "help" {
			names = append(names, flag.Name)
		}
	})
	return names
}

// refuseEtcdFlags refuses flags about etcd on the command line. In the environment and in a file they stand
// for other commands.
func refuseEtcdFlags(cmd *cobra.Command) error {
	if cmd.Flags().Lookup("config").Value.String() != "" {
		return nil
	}
	for _, name := range etcdFlags(cmd) {
		if cmd.Flags().Lookup(name).Changed && os.Getenv(flags.EnvName("GRIDCTL_", name)) == "" {
			return flags.Usagef("--%s is about documents in etcd; fleets are in Kubernetes: leave it out, or did you mean gridctl fleet?", name)
		}
	}
	return nil
}

// open hands the fleets of the cluster to use, and the namespace that is meant.
func (k *kubernetes) open(cmd *cobra.Command, use func(ctx context.Context, fleets *services.Fleets, namespace string) error) error {
	if err := refuseEtcdFlags(cmd); err != nil {
		return err
	}
	if k.etcd.timeout <= 0 {
		return flags.Usagef("--timeout: %s is no time to answer in; write 5s or so", k.etcd.timeout)
	}
	config, namespace, err := k.config()
	if err != nil {
		return err
	}
	config.QPS = -1 // a person asks for one thing at a time, and the API server has a limit of its own
	config.UserAgent = "gridctl/" + flags.BuildVersion(version)
	config.WarningHandler = rest.NewWarningWriter(cmd.ErrOrStderr(), rest.WarningWriterOptions{Deduplicate: true})
	over, err := rest.HTTPClientFor(config)
	if err != nil {
		return flags.Usagef("the kubeconfig cannot be used: %w", err)
	}
	defer utilnet.CloseIdleConnectionsFor(transportOf(over))
	scheme, err := services.Scheme()
	if err != nil {
		return err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: services.Mapper(), HTTPClient: over})
	if err != nil {
		return flags.Usagef("the kubeconfig cannot be used: %w", err)
	}
	fleets := services.NewFleets(c)
	if cmd.LocalNonPersistentFlags().Lookup("timeout") == nil { // else that bounds the wait, and not a call
		fleets = fleets.WithCallTimeout(k.etcd.timeout)
	}
	return fleetsError(cmd, use(cmd.Context(), fleets, namespace))
}

func transportOf(c *http.Client) http.RoundTripper {
	if c.Transport == nil {
		return http.DefaultTransport
	}
	return c.Transport
}

// config reads the kubeconfig by the rules of kubectl.
func (k *kubernetes) config() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: k.context}
	overrides.Context.Namespace = k.namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, "", flags.Usagef("no cluster is named: give --kubeconfig FILE, or set KUBECONFIG")
	case err != nil:
		return nil, "", flags.Usagef("the kubeconfig cannot be used: %w", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", flags.Usagef("the kubeconfig cannot be used: %w", err)
	}
	return config, namespace, nil
}

// fleetsError turns the errors of the business methods into those of the command.
func fleetsError(cmd *cobra.Command, err error) error {
	var ours *services.Error
	if !errors.As(err, &ours) {
		if errors.Is(err, context.Canceled) && !errors.Is(err, errStoppedWaiting) {
			return errors.New("stopped before the API server had answered; gridctl fleets get shows what is stored")
		}
		return err
	}
	if ours.Kind == services.KindInvalid {
		reasons := make([]error, 0, len(ours.Fields))
		for _, f := range ours.Fields {
			reasons = append(reasons, errors.New(f.String()))
		}
		return refuse(cmd, reasons)
	}
	if ours.Kind == services.KindRefused {
		return flags.Usagef("%w; nothing was written", err)
	}
	return err
}

// errStoppedWaiting is in errors of commands that were interrupted while they waited.
var errStoppedWaiting = errors.New("stopped waiting")

// waitFlags say whether a command waits for the end of what it began, and how long.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (w *waitFlags) register(fs *pflag.FlagSet, wait bool, timeout time.Duration) {
	fs.BoolVar(&w.wait, "wait", wait, "wait for the end, and show how far it is")
	fs.DurationVar(&w.timeout, "timeout", timeout, "how long to wait in all")
}

func (w *waitFlags) check() error {
	if w.timeout <= 0 {
		return flags.Usagef("--timeout: %s is no time to wait; write 10m or so, or --wait=false", w.timeout)
	}
	return nil
}
