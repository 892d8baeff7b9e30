//go:build !slim

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsjson "sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

// newFleet are the flags that describe a fleet.
type newFleet struct {
	file      string
	version   string
	image     string
	replicas  int32
	min, max  int32
	rps, cpu  int32
	requests  map[string]string
	endpoints []string
	secret    string
	prefix    string
	listeners []string
	gslb      []string
	vip       string
	canary    []int32
	args      []string
	cluster   string
}

// register registers the flags and returns the names of those that -f takes the place of.
func (n *newFleet) register(fs *pflag.FlagSet) {
	fs.StringVarP(&n.file, "filename", "f", "", "`FILE` with one GridRouter in YAML or JSON, or - for the standard input, in place of the flags below (default none)")
	fs.StringVar(&n.version, "version", "", "`VERSION` of the routers, the tag of the image (must be given)")
	fs.StringVar(&n.image, "image", "", "`IMAGE` without a tag (default the operator's own)")
	fs.Int32Var(&n.replicas, "replicas", 0, "how many routers, `N` (this, or --max)")
	fs.Int32Var(&n.min, "min", 0, "follow the load with at least `N` routers (default 2)")
	fs.Int32Var(&n.max, "max", 0, "follow the load with at most `N` routers")
	fs.Int32Var(&n.rps, "requests-per-second", 0, "with --max: requests per second that one router is to serve, `N` (default not looked at)")
	fs.Int32Var(&n.cpu, "cpu-percent", 0, "with --max: CPU time that a router is to use, in percent `N` of --requests cpu (default not looked at)")
	fs.StringToStringVar(&n.requests, "requests", nil, "what a router requests, such as `cpu=500m,memory=256Mi` (default nothing)")
	fs.StringSliceVar(&n.endpoints, "etcd-endpoints", nil, "`URL`s of the etcd whose documents the fleet follows, as its pods reach it (must be given)")
	fs.StringVar(&n.secret, "etcd-secret", "", "`SECRET` with ca.crt, tls.crt, tls.key, username, password for it (default none)")
	fs.StringVar(&n.prefix, "etcd-prefix", "", "what all keys of the fleet in etcd begin with (default /gridrouter/)")
	fs.StringArrayVar(&n.listeners, "listener", nil, "`NAME=PORT` or NAME=PORT,TLS-SECRET; repeatable (default http=8080)")
	fs.StringSliceVar(&n.gslb, "gslb", nil, "DNS servers for decks on the mesh, `IP[:PORT]` (default those of the pod)")
	fs.StringVar(&n.vip, "vip", "", "virtual `IP` that LVS forwards to the fleet (default none: a Service)")
	fs.Int32SliceVar(&n.canary, "canary", nil, "try changes on these shares of the fleet first, in percent, such as `10,50` (default router by router)")
	fs.StringArrayVar(&n.args, "arg", nil, "another `--FLAG=VALUE` of gridrouter serve; repeatable (default none)")
	fs.StringVar(&n.cluster, "cluster", "", "`NAME` of the ClusterConnection to where the routers run (default where the operator runs)")
}

func newFleetsCreateCommand(k *kubernetes) *cobra.Command {
	var (
		n      newFleet
		wait   waitFlags
		dryRun bool
		output string
	)
	cmd := &cobra.Command{
		Use:   "create NAME --version VERSION --replicas N|--max N --etcd-endpoints URL,... | create -f FILE",
		Short: "Create a fleet",
		Long: `Creates a fleet from flags or from a document; docs/API.md has every field. The API server checks it:
--dry-run has it do so and writes nothing, with -o yaml it prints what would be stored, defaults
included, which is a good beginning of a document.

A fleet that is there already is not changed: scale, upgrade and kubectl apply do that.`,
		Example: `  gridctl fleets create edge --version 1.4.0 --replicas 3 --etcd-endpoints http://etcd:2379 --wait
  gridctl fleets create shop --version 1.4.0 --min 3 --max 12 --requests-per-second 5000 \
      --etcd-endpoints https://etcd-0.etcd:2379,https://etcd-1.etcd:2379 --etcd-secret shop-etcd --canary 10,50
  gridctl fleets create -f edge.yaml --dry-run -o yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "json", "yaml"); err != nil {
				return err
			}
			if err := wait.check(); err != nil {
				return err
			}
			fleet, err := n.fleet(cmd, args)
			if err != nil {
				return err
			}
			return k.open(cmd, func(ctx context.Context, fleets *services.Fleets, namespace string) error {
				if fleet.Namespace != "" && cmd.Flags().Changed("namespace") && fleet.Namespace != namespace {
					return flags.Usagef("the document is for namespace %s, --namespace is %s; leave one out", fleet.Namespace, namespace)
				}
				if fleet.Namespace == "" {
					fleet.Namespace = namespace
				}
				change := fleetChange{waitFlags: wait, dryRun: dryRun}
				created, err := fleets.Provision(ctx, fleet, change.options()...)
				if err != nil {
					return err
				}
				if output != "table" {
					created.Fleet.ManagedFields = nil
					if err := writeForm(cmd.OutOrStdout(), created.Fleet, output); err != nil || !wait.wait {
						return err
					}
				}
				return wait.report(ctx, cmd, fleets, created)
			})
		},
	}
	n.register(cmd.Flags())
	wait.register(cmd.Flags(), false, 10*time.Minute)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "have the API server check it, and write nothing")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, or json or yaml for the fleet as it is stored")
	return cmd
}

// fleet makes a fleet of the flags, or reads it from a file.
func (n *newFleet) fleet(cmd *cobra.Command, args []string) (*v1alpha1.GridRouter, error) {
	if n.file != "" {
		return n.fromFile(cmd, args)
	}
	given := cmd.Flags().Changed
	switch {
	case len(args) == 0:
		return nil, flags.Usagef("name the fleet, or give a document by -f FILE")
	case n.version == "":
		return nil, flags.Usagef("--version is missing; name the version of the routers, such as 1.4.0")
	case len(n.endpoints) == 0:
		return nil, flags.Usagef("--etcd-endpoints is missing; name etcd as the fleet's pods reach it, such as http://etcd.etcd:2379")
	case given("replicas") == given("max"):
		return nil, flags.Usagef("say how many routers: give either --replicas N, or --max N for a fleet that follows its load")
	case !given("max") && (given("min") || given("requests-per-second") || given("cpu-percent")):
		return nil, flags.Usagef("--min, --requests-per-second and --cpu-percent are for a fleet that follows its load; give --max N in place of --replicas")
	}
	fleet := &v1alpha1.GridRouter{}
	fleet.Name = args[0]
	s := &fleet.Spec
	s.Version, s.Image, s.Prefix, s.Cluster = n.version, n.image, n.prefix, n.cluster
	s.Etcd.Endpoints, s.Etcd.Secret = texts[v1alpha1.EtcdEndpoint](n.endpoints), n.secret
	s.GSLB.Servers, s.Args = texts[v1alpha1.DNSServer](n.gslb), texts[v1alpha1.Arg](n.args)
	if given("replicas") {
		s.Replicas = &n.replicas
	} else {
		s.Autoscaling = n.autoscaling(given)
	}
	if n.vip != "" {
		s.Exposure = v1alpha1.Exposure{Type: v1alpha1.ExposureLVS, VIP: n.vip}
	}
	for _, percent := range n.canary {
		if s.Rollout.Canary == nil {
			s.Rollout.Strategy, s.Rollout.Canary = v1alpha1.RolloutCanary, &v1alpha1.Canary{}
		}
		s.Rollout.Canary.Steps = append(s.Rollout.Canary.Steps, v1alpha1.CanaryStep{Percent: percent})
	}
	if err := n.readListeners(s); err != nil {
		return nil, err
	}
	return fleet, n.readRequests(s)
}

func (n *newFleet) autoscaling(given func(string) bool) *v1alpha1.Autoscaling {
	a := &v1alpha1.Autoscaling{Min: n.min, Max: n.max}
	if given("requests-per-second") {
		a.RequestsPerSecond = &n.rps
	}
	if given("cpu-percent") {
		a.CPUPercent = &n.cpu
	}
	return a
}

func texts[T ~string](from []string) []T {
	if len(from) == 0 {
		return nil
	}
	all := make([]T, 0, len(from))
	for _, text := range from {
		all = append(all, T(text))
	}
	return all
}

// readListeners reads --listener NAME=PORT[,SECRET].
func (n *newFleet) readListeners(s *v1alpha1.GridRouterSpec) error {
	for _, text := range n.listeners {
		name, rest, _ := strings.Cut(text, "=")
		port, secret, _ := strings.Cut(rest, ",")
		number, err := strconv.ParseInt(port, 10, 32)
		if err != nil || name == "" {
			return flags.Usagef("--listener: %q is no listener; write NAME=PORT, or NAME=PORT,SECRET for TLS, such as http=8080", text)
		}
		s.Listeners = append(s.Listeners, v1alpha1.Listener{Name: name, Port: int32(number), TLSSecret: secret})
	}
	return nil
}

// readRequests reads --requests RESOURCE=QUANTITY,...
func (n *newFleet) readRequests(s *v1alpha1.GridRouterSpec) error {
	for name, text := range n.requests {
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return flags.Usagef("--requests: %q is no quantity of %s; write one such as cpu=500m or memory=256Mi", text, name)
		}
		if s.Resources.Requests == nil {
			s.Resources.Requests = corev1.ResourceList{}
		}
		s.Resources.Requests[corev1.ResourceName(name)] = quantity
	}
	return nil
}

// besideFile are the flags of create that may stand beside -f.
var besideFile = []string{"filename", "wait", "timeout", "dry-run", "output", "kubeconfig", "context", "namespace", "config"}

// fromFile reads a document, whose fields must all be known.
func (n *newFleet) fromFile(cmd *cobra.Command, args []string) (*v1alpha1.GridRouter, error) {
	var extra error
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if extra == nil && flag.Changed && !slices.Contains(besideFile, flag.Name) && cmd.Root().PersistentFlags().Lookup(flag.Name) == nil {
			extra = flags.Usagef("--%s and -f exclude each other; write it into the document", flag.Name)
		}
	})
	if extra != nil {
		return nil, extra
	}
	text, err := readInput(cmd, n.file)
	if err != nil {
		return nil, inputError("-f: ", err)
	}
	fleet, err := readFleet(text)
	switch {
	case err != nil:
		return nil, flags.Usagef("%s: %w", n.file, err)
	case len(args) == 1 && fleet.Name != "" && fleet.Name != args[0]:
		return nil, flags.Usagef("%s is of fleet %s, not %s; leave the name out", n.file, fleet.Name, args[0])
	case len(args) == 1:
		fleet.Name = args[0]
	}
	return fleet, nil
}

// readFleet reads the document of one fleet.
func readFleet(text []byte) (*v1alpha1.GridRouter, error) {
	if documents := countDocuments(text); documents != 1 {
		return nil, fmt.Errorf("holds %s; give one GridRouter (kubectl apply takes many)", count(documents, "document"))
	}
	form, err := sigsyaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("is no YAML: %w", err)
	}
	var kind metav1.TypeMeta
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(form, &kind); err != nil {
		return nil, fmt.Errorf("is no document: %w", err)
	}
	if kind.Kind != "GridRouter" || kind.APIVersion != v1alpha1.SchemeGroupVersion.String() {
		return nil, fmt.Errorf("is of kind %q, apiVersion %q; a fleet has kind: GridRouter and apiVersion: %s", kind.Kind, kind.APIVersion, v1alpha1.SchemeGroupVersion)
	}
	fleet := &v1alpha1.GridRouter{}
	if unknown, err := sigsjson.UnmarshalStrict(form, fleet); err != nil || len(unknown) > 0 {
		return nil, fmt.Errorf("cannot be read: %w", errors.Join(append(unknown, err)...))
	}
	fleet.Status = v1alpha1.GridRouterStatus{}
	fleet.ResourceVersion, fleet.UID, fleet.ManagedFields = "", "", nil
	return fleet, nil
}

// countDocuments counts the documents of YAML that are not empty.
func countDocuments(text []byte) int {
	documents := 0
	for part := range strings.SplitSeq("\n"+string(text), "\n---") {
		if strings.TrimSpace(withoutComments(part)) != "" {
			documents++
		}
	}
	return documents
}

func withoutComments(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
