//go:build !slim

package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

// TestFleetScripts drives the real command against a real API server, each script in a namespace of its own.
func TestFleetScripts(t *testing.T) {
	config := kubetest.Start(t)
	s := &fleetScripts{client: kubeClient(t, config)}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "fleets"),
		Setup: func(env *testscript.Env) error {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
			if err := s.client.Create(context.Background(), namespace); err != nil {
				return err
			}
			env.Setenv("NAMESPACE", namespace.Name)
			env.Setenv("GRIDCTL_TIMEOUT", "2m")
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "kubeconfig"))
			return clientcmd.WriteToFile(*kubeconfigOf(config, namespace.Name), filepath.Join(env.WorkDir, "kubeconfig"))
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "operator": s.operator, "event": s.event, "applied": s.applied,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func kubeClient(t *testing.T, config *rest.Config) client.WithWatch {
	t.Helper()
	scheme, err := services.Scheme()
	if err == nil {
		err = corev1.AddToScheme(scheme)
	}
	if err != nil {
		t.Fatal(err)
	}
	over, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(over.Transport) })
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, HTTPClient: over})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kubeconfigOf has a context "admin", the current one, and a context "kim", who has no rights.
func kubeconfigOf(config *rest.Config, namespace string) *clientcmdapi.Config {
	k := clientcmdapi.NewConfig()
	k.Clusters["test"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	for _, name := range []string{"admin", "kim"} {
		k.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
		k.Contexts[name] = &clientcmdapi.Context{Cluster: "test", AuthInfo: name, Namespace: namespace}
	}
	k.AuthInfos["kim"].Impersonate = "kim"
	k.CurrentContext = "admin"
	return k
}

type fleetScripts struct{ client client.WithWatch }

// operator writes the status of a fleet as the operator does, in answer to its present generation, once the
// spec has a value: operator NAME FILE FIELD=VALUE, with - for a FILE that is not to be written.
func (s *fleetScripts) operator(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: operator NAME FILE FIELD=VALUE")
	}
	key := client.ObjectKey{Namespace: ts.Getenv("NAMESPACE"), Name: args[0]}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		fleet := &v1alpha1.GridRouter{}
		ts.Check(s.client.Get(ctx, key, fleet))
		spec, err := sigsyaml.Marshal(fleet.Spec)
		ts.Check(err)
		if strings.Contains("\n"+string(spec), "\n"+strings.Replace(args[2], "=", ": ", 1)+"\n") && (args[1] == "-" || s.answer(ctx, ts, fleet, args[1])) {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("spec never has %s:\n%s", args[2], spec)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *fleetScripts) answer(ctx context.Context, ts *testscript.TestScript, fleet *v1alpha1.GridRouter, file string) bool {
	status := v1alpha1.GridRouterStatus{}
	ts.Check(sigsyaml.UnmarshalStrict([]byte(ts.ReadFile(file)), &status))
	status.ObservedGeneration = fleet.Generation
	for i := range status.Conditions {
		status.Conditions[i].ObservedGeneration, status.Conditions[i].LastTransitionTime = fleet.Generation, metav1.Now()
	}
	fleet.Status = status
	return s.client.Status().Update(ctx, fleet) == nil
}

// event tells something of a fleet: event NAME REASON NOTE.
func (s *fleetScripts) event(ts *testscript.TestScript, _ bool, args []string) {
	space := ts.Getenv("NAMESPACE")
	ts.Check(s.client.Create(context.Background(), &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: space, GenerateName: "e-"}, EventTime: metav1.NowMicro(), Type: corev1.EventTypeWarning,
		ReportingController: "gridrouter-operator", ReportingInstance: "a", Action: "Reconcile", Reason: args[1], Note: args[2],
		Regarding: corev1.ObjectReference{Kind: "GridRouter", APIVersion: v1alpha1.SchemeGroupVersion.String(), Namespace: space, Name: args[0]},
	}))
}

// applied writes a document by server-side apply: applied OWNER FILE.
func (s *fleetScripts) applied(ts *testscript.TestScript, _ bool, args []string) {
	fleet := &v1alpha1.GridRouter{}
	ts.Check(sigsyaml.UnmarshalStrict([]byte(ts.ReadFile(args[1])), fleet))
	body, err := sigsyaml.YAMLToJSON([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	fleet.Namespace = ts.Getenv("NAMESPACE")
	//nolint:staticcheck // the typed way needs the generated apply configurations, and says the same
	ts.Check(s.client.Patch(context.Background(), fleet, client.RawPatch(client.Apply.Type(), body), client.FieldOwner(args[0])))
}

// TestProgressIsToldWhereItIsNew looks at lines that no terminal shows.
func TestProgressIsToldWhereItIsNew(t *testing.T) {
	var out bytes.Buffer
	p, at := newProgressLine(&out), time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for i := range 25 {
		p.tell(fmt.Sprintf("canary, %d s of 60 s", i), at.Add(time.Duration(i)*time.Second))
	}
	p.tell("rolling\x1b[2J", at.Add(25*time.Second))
	p.end()
	if got, want := out.String(), "canary, 0 s of 60 s\ncanary, 10 s of 60 s\ncanary, 20 s of 60 s\n\"rolling\\x1b[2J\"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestALineIsCutToTheWidthOfItsTerminal(t *testing.T) {
	f := func(line string, width int, want string) {
		t.Helper()
		if got := shortened(line, width); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("upgrade", 7, "upgrade")
	f("upgrades", 7, "upgr...")
	f("ünïcödés", 7, "ünïc...")
}

// TestADeletionIsConfirmedByName types answers.
func TestADeletionIsConfirmedByName(t *testing.T) {
	f := func(typed, want string) {
		t.Helper()
		cmd := &cobra.Command{}
		var asked bytes.Buffer
		cmd.SetIn(strings.NewReader(typed))
		cmd.SetErr(&asked)
		fleet := &v1alpha1.GridRouter{}
		fleet.Namespace, fleet.Name, fleet.Status.Replicas, fleet.Status.Ready = "prod", "edge", 5, 4
		fleet.Spec.Exposure.VIP = "10.9.0.10"
		err := confirmDeletion(t.Context(), cmd, fleet)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", typed, err, want)
		}
		if got := asked.String(); got != "Delete fleet edge in namespace prod, with 5 routers, 4 ready behind VIP 10.9.0.10? Type its name to go on: " {
			t.Errorf("asks %q", got)
		}
	}
	f("edge\n", "")
	f(" edge \n", "")
	f("edge", "")
	f("y\n", "nothing was deleted")
	f("", "nothing was deleted")
}

// TestADocumentOfAFleetIsReadStrictly tries documents.
func TestADocumentOfAFleetIsReadStrictly(t *testing.T) {
	const head = "apiVersion: gridrouter.io/v1alpha1\nkind: GridRouter\n"
	f := func(text, want string) {
		t.Helper()
		_, err := readFleet([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	f(head+"metadata: {name: a}\nspec: {version: 1.4.0, replicas: 3, etcd: {endpoints: ['http://etcd:2379']}}\n", "")
	f("# a comment\n---\n"+head+"---\n# nothing\n", "")
	f(`{"apiVersion":"gridrouter.io/v1alpha1","kind":"GridRouter"}`, "")
	f("", "holds 0 documents; give one GridRouter")
	f(head+"---\n"+head, "holds 2 documents")
	f("kind: Deck\n", `is of kind "Deck", apiVersion ""; a fleet has kind: GridRouter`)
	f("apiVersion: gridrouter.io/v9\nkind: GridRouter\n", `apiVersion "gridrouter.io/v9"`)
	f(head+"spec: {ersion: 1}\n", `unknown field "spec.ersion"`)
	f(head+"spec: {version: a, version: b}\n", "already set in map")
	f(head+"spec: {replicas: many}\n", "cannot be read")
	f("a: [\n", "is no YAML")
	f("- a\n", "is no document")
}

func FuzzReadFleet(f *testing.F) {
	f.Add([]byte("apiVersion: gridrouter.io/v1alpha1\nkind: GridRouter\nspec: {version: 1.4.0}\n"))
	f.Add([]byte("---\n---\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if fleet, err := readFleet(text); err == nil && (fleet.Kind != "GridRouter" || fleet.ResourceVersion != "") {
			t.Errorf("%+v", fleet)
		}
	})
}
