package services_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

func missingRightsAreNamed(t *testing.T, w *world) {
	w.provision(t)
	as := impersonated(w.config, "kim")
	none := services.NewFleets(connect(t, as))
	_, err := none.Get(t.Context(), w.ref("edge"))
	fails(t, err, services.KindForbidden, `you may not get gridrouters.gridrouter.io (fleet edge in namespace `+w.space+`): ask for a Role with the verb "get" on "gridrouters" (apiGroup "gridrouter.io")`)
	_, err = none.List(t.Context(), "")
	fails(t, err, services.KindForbidden, "you may not list", "all namespaces")
	_, err = none.Provision(t.Context(), w.fleet("other"))
	fails(t, err, services.KindForbidden, "you may not create")
	_, err = none.Events(t.Context(), w.ref("edge"))
	fails(t, err, services.KindForbidden, `verb "list" on "events" (apiGroup "events.k8s.io")`)

	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.space, Name: "reader"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"gridrouter.io"}, Resources: []string{"gridrouters"}, Verbs: []string{"get", "list"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "kim", APIGroup: rbacv1.GroupName}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := w.admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "the role is in force", func() bool { _, err := none.Get(t.Context(), w.ref("edge")); return err == nil })
	_, err = none.Upgrade(t.Context(), w.ref("edge"), "1.5.0")
	fails(t, err, services.KindForbidden, "you may not patch")
	_, err = none.Delete(t.Context(), w.ref("edge"))
	fails(t, err, services.KindForbidden, "you may not delete")
	err = none.Watch(t.Context(), w.ref("edge"), 0, func(services.Sight) (bool, error) { return false, nil })
	fails(t, err, services.KindForbidden, "you may not watch")
}

// impersonated is the same API server for somebody else.
func impersonated(config *rest.Config, user string) *rest.Config {
	as := rest.CopyConfig(config)
	as.Impersonate = rest.ImpersonationConfig{UserName: user}
	return as
}

func aFleetThatIsNotThere(t *testing.T, w *world) {
	_, err := w.fleets.Scale(t.Context(), w.ref("none"), 5)
	fails(t, err, services.KindNotFound, "there is no fleet none in namespace "+w.space)
	_, err = w.fleets.Delete(t.Context(), w.ref("none"))
	fails(t, err, services.KindNotFound)
	away := rest.CopyConfig(w.config)
	away.Host, away.TLSClientConfig = "http://"+testkit.FreeAddr(t), rest.TLSClientConfig{}
	c, err := client.NewWithWatch(away, client.Options{Scheme: w.admin.Scheme(), Mapper: services.Mapper()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = services.NewFleets(c).Get(t.Context(), w.ref("edge"))
	fails(t, err, services.KindUnreachable, "the API server at "+away.Host+" does not answer", "connection refused")
}

func eventsAreListedOldestFirst(t *testing.T, w *world) {
	w.provision(t)
	at := time.Now().Add(-time.Minute).Truncate(time.Microsecond)
	for i, reason := range []string{"Second", "First"} {
		event := &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.space, Name: strings.ToLower(reason)}, EventTime: metav1.NewMicroTime(at.Add(-time.Duration(i) * time.Second)),
			ReportingController: "gridrouter-operator", ReportingInstance: "a", Action: "Reconcile", Reason: reason, Type: "Normal", Note: "x",
			Regarding: corev1.ObjectReference{Kind: "GridRouter", APIVersion: "gridrouter.io/v1alpha1", Namespace: w.space, Name: "edge"},
		}
		if err := w.admin.Create(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	events, err := w.fleets.Events(t.Context(), w.ref("edge"))
	if err != nil || len(events) != 2 || events[0].Reason != "First" || events[0].Count != 1 || !events[1].Last.Equal(at) {
		t.Errorf("%+v, %v", events, err)
	}
	if events, err = w.fleets.Events(t.Context(), w.ref("other")); err != nil || len(events) != 0 {
		t.Errorf("%+v, %v", events, err)
	}
}

func listsAreSorted(t *testing.T, w *world) {
	for _, name := range []string{"b", "a"} {
		must(t)(w.fleets.Provision(t.Context(), w.fleet(name)))
	}
	found, err := w.fleets.List(t.Context(), w.space)
	if err != nil || len(found) != 2 || found[0].Name != "a" || found[1].Kind != "GridRouter" {
		t.Errorf("%+v, %v", found, err)
	}
	if all, err := w.fleets.List(t.Context(), ""); err != nil || len(all) < 2 {
		t.Errorf("%d, %v", len(all), err)
	}
}

// shaky is a client whose first lists find no API server, and whose first watches end at once.
type shaky struct {
	client.WithWatch

	lists, watches atomic.Int32
}

// List implements [client.Client].
func (s *shaky) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if s.lists.Add(1) <= 2 {
		return &url.Error{Op: "Get", URL: "https://api.example:6443/secret?x=y", Err: syscall.ECONNREFUSED}
	}
	return s.WithWatch.List(ctx, list, options...)
}

// Watch implements [client.WithWatch].
func (s *shaky) Watch(ctx context.Context, list client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
	stream, err := s.WithWatch.Watch(ctx, list, options...)
	if err == nil && s.watches.Add(1) <= 2 {
		stream.Stop()
	}
	return stream, err
}

func aWaitOutlivesAnAPIServerThatIsAway(t *testing.T, w *world) {
	w.provision(t)
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	s := &shaky{WithWatch: w.admin}
	var away atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- services.NewFleets(s).Await(t.Context(), change, func(p services.Progress) {
			if strings.HasSuffix(p.Line, "the API server at https://api.example:6443 does not answer: connection refused; trying again") {
				away.Store(true)
			}
		})
	}()
	testkit.Eventually(t, "a third watch is there", func() bool { return s.watches.Load() > 2 })
	w.operate(t, func(f *v1alpha1.GridRouter) { settle(f, "1.5.0") })
	if err := <-ended; err != nil || !away.Load() {
		t.Errorf("%v, told that it was away: %v", err, away.Load())
	}
}

func aWaitThatIsCancelledEndsAtOnce(t *testing.T, w *world) {
	w.provision(t)
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	ctx, cancel := context.WithCancel(t.Context())
	err := w.fleets.Await(ctx, change, func(services.Progress) { cancel() })
	if !errors.Is(err, context.Canceled) || services.KindOf(err) != "" {
		t.Errorf("%v", err)
	}
}

func aWaitThatIsOverTellsHowFarItCame(t *testing.T, w *world) {
	w.provision(t)
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := w.fleets.Await(ctx, change, nil)
	fails(t, err, services.KindTimeout, "not at its end in time: upgrade 1.4.0 -> 1.5.0: ", "; it goes on in the cluster")
}

// TestAClusterWithoutTheKindIsToldAsSuch takes the CRD away.
func TestAClusterWithoutTheKindIsToldAsSuch(t *testing.T) {
	config := kubetest.Start(t)
	admin := connect(t, config)
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: services.Resource}}
	if err := admin.Delete(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: admin.Scheme(), Mapper: services.Mapper()})
	if err != nil {
		t.Fatal(err)
	}
	fleets := services.NewFleets(c)
	w := &world{space: "default"}
	testkit.Eventually(t, "the kind is gone", func() bool {
		_, err := fleets.List(t.Context(), "default")
		return services.KindOf(err) == services.KindNotInstalled
	})
	_, err = fleets.Get(t.Context(), w.ref("edge"))
	fails(t, err, services.KindNotInstalled, "gridrouter operator manifests | kubectl apply -f -")
	_, err = fleets.Provision(t.Context(), w.fleet("edge"))
	fails(t, err, services.KindNotInstalled)
	_, err = fleets.Scale(t.Context(), w.ref("edge"), 5)
	fails(t, err, services.KindNotInstalled)
}
