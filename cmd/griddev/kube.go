package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
)

// kubeFlags are the flags of "griddev kube".
type kubeFlags struct {
	begun time.Time
	tag   string
	stay  bool
}

// newKubeCommand returns "griddev kube": the tour of the operator, which "make kube-tour" runs in a testbed.
func newKubeCommand(begun time.Time) *cobra.Command {
	f := &kubeFlags{begun: begun}
	cmd := &cobra.Command{
		Use:    "kube",
		Short:  "Show the operator, in a testbed (make kube-tour starts both)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return runKube(cmd, f) },
	}
	cmd.Flags().StringVar(&f.tag, "tag", "dev", "`TAG` of the image gridrouter that the operator runs")
	cmd.Flags().BoolVar(&f.stay, "stay", false, "leave the fleet and the cluster until Ctrl-C")
	return cmd
}

// testbedVariable names the folder of the testbed to all that runs in it.
const testbedVariable = "GRIDROUTER_TESTBED"

// runKube runs every line of the tour, and stops; with --stay it waits for Ctrl-C before.
func runKube(cmd *cobra.Command, f *kubeFlags) error {
	testbed := os.Getenv(testbedVariable)
	if testbed == "" {
		return flags.Usagef("this is not in a testbed: run make kube-tour, as root")
	}
	if _, err := os.Stat(kubeSamples); err != nil {
		return flags.Usagef("%s is not here: run make kube-tour in the folder of the project", kubeSamples)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Dir(program)
	signals := listenForSignals(cmd.Context())
	defer signals.close()
	out := &report{w: cmd.OutOrStdout(), begun: f.begun}
	guide := newKubeTour((&gridFlags{}).curl(bin), f.tag, f.stay)
	guide.env = []string{"PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH")}
	if err := guide.run(signals.first, out); err != nil {
		out.printf("\nWhat a person would look at now:\n")
		guide.lookAround(signals.first, out)
		return err
	}
	out.printf("The tour took %.0f s.\n", time.Since(f.begun).Seconds())
	if f.stay {
		out.printf(staying, here(bin), testbed, bin)
		<-signals.first.Done()
	}
	return nil
}

// staying says what to do with a cluster that stays.
const staying = `
The cluster stays until Ctrl-C. A shell in it, in another terminal, as root and in this folder:

   %[1]s/testbed/testbed enter
   export PATH=%[3]s:$PATH

From outside, kubectl and gridctl fleets reach it too, but not Pods and Services:

   export KUBECONFIG=%[2]s/kubeconfig
   export PATH=%[2]s/bin:%[3]s:$PATH
`

// lookAround shows the state of the cluster after a line that failed.
func (t *tour) lookAround(ctx context.Context, out *report) {
	for _, text := range []string{
		"kubectl get gr,pods -A -o wide", "kubectl describe gr", "kubectl -n gridrouter-system logs -l app.kubernetes.io/name=gridrouter-operator --tail=40",
	} {
		out.printf("\n   $ %s\n", text)
		if _, err := t.shell(ctx, line{text: text, live: true}, out); err != nil {
			out.printf("   !! %v\n", err)
		}
	}
}

const kubePicture = `
        you, with curl            you, with kubectl and gridctl
             |                               |
       Service edge                  GridRouter "edge"   what you want: 3 routers, version v1
      /      |      \                        |
  router  router  router  <--- makes --- operator        Deployment, Service, PodDisruptionBudget, ...
      \      |      /  \
        Pod deck-1       watch Pod etcd                  the documents: a deck, a tenant

Each line below is run in the cluster's network, with bin/ on the PATH, as you would type it.
`

// kubeSamples is where the files are that the tour applies.
const kubeSamples = "deploy/samples/kube"

// newKubeTour writes the lines of the tour of the operator. tag is that of the operator's image; a fleet that
// stays is not deleted at the end.
func newKubeTour(curl, tag string, stays bool) *tour {
	t := &tour{curl: curl, picture: kubePicture, bound: 3 * time.Minute, depends: true}
	t.stops = []stop{t.install(tag), t.surroundings(), t.fleet(), t.request(), t.scale(), t.upgrade(), t.mistake(), t.events()}
	if !stays {
		t.stops = append(t.stops, t.deletion())
	}
	return t
}

func (t *tour) install(tag string) stop {
	return stop{"Install the operator: all that it is made of comes from the binary itself", []line{
		{
			text:   "gridrouter operator manifests --image gridrouter --version " + tag + " \\\n  | kubectl apply --server-side -f -",
			note:   "The kinds GridRouter and ClusterConnection, the operator, and no more rights than it needs.",
			expect: []string{"gridrouters.gridrouter.io", "deployment.apps/gridrouter-operator"},
			live:   true,
		},
		{
			text:   "kubectl -n gridrouter-system rollout status deployment gridrouter-operator --timeout=2m",
			expect: []string{"successfully rolled out"},
			live:   true,
		},
		{
			text:   "kubectl -n gridrouter-system get pods",
			note:   "Two of them; one leads, the other waits to take over.",
			expect: []string{"Running"},
		},
	}}
}

func (t *tour) surroundings() stop {
	return stop{"What a fleet needs: an etcd and a deck, a plain pod each here, and documents in etcd", []line{
		{text: "kubectl apply -f " + kubeSamples + "/grid.yaml", expect: []string{"pod/etcd created", "pod/deck-1 created"}},
		{text: "kubectl wait --for=condition=Ready pod/etcd pod/deck-1 --timeout=1m", expect: []string{"pod/deck-1 condition met"}, live: true},
		{text: "cat " + kubeSamples + "/documents.yaml", expect: []string{"kind: Tenant"}},
		{
			text:   "gridctl --etcd http://etcd:2379 apply -f " + kubeSamples + "/documents.yaml",
			expect: []string{"2 documents written"},
		},
	}}
}

func (t *tour) fleet() stop {
	return stop{"A fleet: say what you want, and the operator makes it so", []line{
		{text: "cat " + kubeSamples + "/fleet.yaml", expect: []string{"kind: GridRouter"}},
		{text: "kubectl apply -f " + kubeSamples + "/fleet.yaml", expect: []string{"edge created"}},
		{text: "kubectl wait --for=condition=Progressing=False gr/edge --timeout=2m", expect: []string{"condition met"}, live: true},
		{text: "kubectl get gr", expect: []string{"edge   v1        v1       3          3       3         True        Complete"}},
		{
			text:   "gridctl fleets get edge",
			note:   "One router in each zone. All of them have the same table.",
			expect: []string{"zone-a", "zone-b", "zone-c", "InSync"},
			again:  true, // routers tell of their tables every two seconds
		},
	}}
}

func (t *tour) request() stop {
	return stop{"A request through the fleet's Service", []line{{
		text:   t.curl + " -si -H 'Host: acme.example' http://edge:8080/",
		note:   "The deck's answer: a router found the tenant by the host, and the deck by the tenant's rules.",
		expect: []string{"200 OK", `"pod":"deck-1"`},
		again:  true,
	}}}
}

func (t *tour) scale() stop {
	return stop{"Scale it", []line{
		{text: "gridctl fleets scale edge 5 --wait", expect: []string{"done, 5 of 5 routers ready"}, live: true},
		{text: "kubectl get gr", expect: []string{"Complete"}},
		{text: "kubectl scale gr edge --replicas 3", note: "kubectl can do it, too.", expect: []string{"scaled"}},
		{text: "kubectl wait --for=jsonpath='{.status.replicas}'=3 gr/edge --timeout=2m", expect: []string{"condition met"}, live: true},
	}}
}

// underTraffic is a line with 200 requests a second meanwhile, each connection for two of them.
func underTraffic(text string) string {
	return "gridbench load http://edge:8080/ --host acme.example --rate 200 --per-connection 2 \\\n" +
		"  -d 10m -q > $" + testbedVariable + "/traffic 2>&1 &\n" +
		text + "\nkill -INT $!; wait\nsed '/^sent late/,$d' $" + testbedVariable + "/traffic"
}

func (t *tour) upgrade() stop {
	return stop{"Upgrade it to v2 while clients send 200 requests a second", []line{
		{
			text:   underTraffic("gridctl fleets upgrade edge v2"),
			note:   "Router by router: a new one is ready before an old one leaves, which finishes its requests.",
			expect: []string{"v1 -> v2: done, 3 of 3 routers ready", "errors     0\n", "right in"},
			live:   true,
		},
		{text: "kubectl get gr", expect: []string{"edge   v2        v2 "}},
	}}
}

func (t *tour) mistake() stop {
	patch := `'{"spec":{"args":["--resolver=192.0.2.1:53","--dns-timeout=100ms"]}}'`
	return stop{"Make a mistake: with canaries, the operator sees that it is one, and takes it back by itself", []line{
		{text: "sed -n '/rollout:/,$p' " + kubeSamples + "/canary.yaml", expect: []string{"Canary"}},
		{text: "kubectl apply -f " + kubeSamples + "/canary.yaml", expect: []string{"edge configured"}},
		{
			text: underTraffic("kubectl patch gr edge --type merge -p \\\n  " + patch + "\n" +
				"kubectl wait --for=jsonpath='{.status.canary.state}'=RolledBack gr/edge --timeout=2m"),
			note:   "That DNS server answers nobody. Only requests that came to the one canary have failed.",
			expect: []string{"condition met", "right in"},
			live:   true,
		},
		{text: "kubectl get gr", expect: []string{"edge   v2        v2       3          3       3         True        RolledBack"}, again: true},
		{
			text:   "kubectl get gr edge -o jsonpath='{.status.canary.why}{\"\\n\"}' | fold -sw 90",
			note:   "The reason. The same routers are not tried again, until the spec asks for others.",
			expect: []string{"canaries'"},
		},
		{text: "gridctl fleets history edge | cut -c 1-64", expect: []string{"RolledBack", "Complete"}},
	}}
}

func (t *tour) events() stop {
	return stop{"What the operator told of all this", []line{{
		text:   "gridctl fleets events edge | cut -c 23-117",
		expect: []string{"RollingOut", "Scaling", "CanaryRunning", "TooManyErrors", "RolledBack"},
	}}}
}

func (t *tour) deletion() stop {
	return stop{"Delete it, with all that was made for it", []line{
		{text: "gridctl fleets delete edge --yes", expect: []string{"gone"}, live: true},
		{
			text:   "kubectl get deployments,services,pods -l gridrouter.io/fleet=edge",
			note:   "The routers have finished what was in flight, and left.",
			expect: []string{"No resources found"},
			again:  true,
		},
	}}
}
