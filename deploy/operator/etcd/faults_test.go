package etcd

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"go.uber.org/zap/zaptest"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/observe"
	"gridrouter.io/deploy/operator/etcd/plan"
	"gridrouter.io/deploy/operator/etcd/render"
)

// bench is a reconciler with an API server that has no controllers: what ends pods and collects garbage is the test.
type bench struct {
	*testing.T
	*Reconciler
	client client.Client
	name   string
	events *events.FakeRecorder
}

func newBench(t *testing.T) *bench {
	t.Helper()
	config := kubetest.Start(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	pool := observe.NewPool(zaptest.NewLogger(t))
	t.Cleanup(pool.Close)
	b := &bench{T: t, client: direct, name: "store", events: events.NewFakeRecorder(1000)}
	b.Reconciler = New(Options{
		Client: direct, Live: direct, Nodes: direct, Members: pool, Defaults: render.Defaults{EtcdImage: "etcd", ToolsImage: "gridrouter:dev"},
		Namespace: "gridrouter-system", Events: b.events,
	})
	return b
}

func (b *bench) try(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// cluster makes a cluster without TLS.
func (b *bench) cluster(edit func(*v1alpha1.EtcdCluster)) *v1alpha1.EtcdCluster {
	b.Helper()
	c := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: b.name}}
	c.Spec = v1alpha1.EtcdClusterSpec{Version: "3.7.3", Storage: v1alpha1.EtcdStorage{Size: resource.MustParse("1Gi")}, TLS: v1alpha1.EtcdTLS{Mode: v1alpha1.EtcdTLSOff}}
	if edit != nil {
		edit(c)
	}
	status := c.Status
	b.try(b.client.Create(b.Context(), c))
	if c.Status = status; status.ClusterID != "" {
		b.try(b.client.Status().Update(b.Context(), c))
	}
	return c
}

// reconcile reconciles so many times.
func (b *bench) reconcile(times int) {
	b.Helper()
	for range times {
		_, err := b.Reconcile(b.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "default", Name: b.name}})
		b.try(err)
	}
}

func (b *bench) members() []v1alpha1.EtcdMember {
	b.Helper()
	var list v1alpha1.EtcdMemberList
	b.try(b.client.List(b.Context(), &list, client.InNamespace("default")))
	return list.Items
}

// look looks at a cluster as a reconcile does.
func (b *bench) lookAt(c *v1alpha1.EtcdCluster) *world {
	b.Helper()
	b.try(b.client.Get(b.Context(), client.ObjectKeyFromObject(c), c))
	w, err := b.look(b.Context(), c, b.client)
	b.try(err)
	return w
}

// claim makes the claim of a member that was removed some time ago.
func (b *bench) claim(c *v1alpha1.EtcdCluster, name string, ago time.Duration) *corev1.PersistentVolumeClaim {
	b.Helper()
	m := &v1alpha1.EtcdMember{}
	m.Name = name
	removed := time.Now().Add(-ago)
	if ago == 0 {
		removed = time.Time{}
	}
	b.try(b.client.Apply(b.Context(), render.Claim(c, m, removed), client.FieldOwner("test"), client.ForceOwnership))
	claim := &corev1.PersistentVolumeClaim{}
	b.try(b.client.Get(b.Context(), client.ObjectKey{Namespace: "default", Name: name}, claim))
	return claim
}

// TestVolumesStayWhileNoMajorityAnswers has all EtcdMembers be gone, as after their kind was deleted and made anew.
func TestVolumesStayWhileNoMajorityAnswers(t *testing.T) {
	b := newBench(t)
	c := b.cluster(func(c *v1alpha1.EtcdCluster) { c.Status.ClusterID, c.Status.NextMember = "abc", 3 })
	for n := range 3 {
		b.claim(c, fmt.Sprintf("store-%d", n), 24*time.Hour)
	}
	b.reconcile(10)
	var claims corev1.PersistentVolumeClaimList
	b.try(b.client.List(t.Context(), &claims, client.InNamespace("default")))
	for i := range claims.Items {
		if claims.Items[i].DeletionTimestamp != nil {
			t.Errorf("the volume of %s, which may hold the only data, is deleted", claims.Items[i].Name)
		}
	}
}

func TestTheVolumeOfAMemberThatTheCacheDoesNotKnowYetStays(t *testing.T) {
	b := newBench(t)
	c := b.cluster(func(c *v1alpha1.EtcdCluster) { c.Spec.Storage.KeepRemoved = &metav1.Duration{} })
	b.reconcile(20)
	w := b.lookAt(c)
	if len(w.members) != 1 || len(w.claims) != 1 {
		t.Fatalf("%d members, %d claims", len(w.members), len(w.claims))
	}
	w.members, w.report.Known = nil, true // as a cache is that is behind
	for range 3 {
		var d done
		b.try(b.sweep(t.Context(), w, &d))
		w.claims = b.lookAt(c).claims
	}
	if claim := w.claims[0]; claim.DeletionTimestamp != nil || claim.Annotations[render.AnnotationRemoved] != "" {
		t.Errorf("%s: %v, deleted at %v", claim.Name, claim.Annotations, claim.DeletionTimestamp)
	}
}

func TestTheTimeOfARemovalThatNeverWasIsForgotten(t *testing.T) {
	b := newBench(t)
	c := b.cluster(nil)
	b.reconcile(20)
	b.claim(c, b.members()[0].Name, 24*time.Hour) // by somebody's hand, or a cache that was behind
	b.reconcile(5)
	if claim := b.lookAt(c).claims[0]; claim.Annotations[render.AnnotationRemoved] != "" {
		t.Errorf("%v: the volume would be deleted as soon as its member is removed", claim.Annotations)
	}
}

func TestWhatAPersonAddsToAMemberIsTakenBackAndWrittenOnce(t *testing.T) {
	b := newBench(t)
	c := b.cluster(nil)
	b.reconcile(20)
	m := b.members()[0]
	m.Spec.Template.Placement.NodeSelector = map[string]string{"a": "b"}
	b.try(b.client.Update(t.Context(), &m))
	b.reconcile(10)
	if w := b.lookAt(c); render.Hash(&w.members[0].o.Spec.Template) != w.hash {
		t.Errorf("the node selector %v is still there, and is written against for ever", w.members[0].o.Spec.Template.Placement.NodeSelector)
	}
}

// TestAChangeIsTriedForItsWholeTimeByAMemberThatWasSickBefore has a member be sick for longer than a change may take.
func TestAChangeIsTriedForItsWholeTimeByAMemberThatWasSickBefore(t *testing.T) {
	b := newBench(t)
	c := b.cluster(nil)
	b.reconcile(20)
	m := b.members()[0]
	m.Status.UnhealthySince = &metav1.Time{Time: time.Now().Add(-time.Hour)}
	b.try(b.client.Status().Update(t.Context(), &m))
	b.try(b.client.Get(t.Context(), client.ObjectKeyFromObject(c), c))
	c.Spec.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")} // what is to cure it
	b.try(b.client.Update(t.Context(), c))
	b.reconcile(10)
	b.try(b.client.Get(t.Context(), client.ObjectKeyFromObject(c), c))
	if c.Status.Refused != nil {
		t.Errorf("it was taken back at once: %+v", c.Status.Refused)
	}
}

func TestAMemberIsReplacedThoughItFailsAfterAChangeThatOthersBore(t *testing.T) {
	c := &v1alpha1.EtcdCluster{}
	c.Spec.Version = "3.7.3"
	before := render.TemplateOf(c)
	before.Version = "3.7.2"
	c.Status.Template = &before
	w := &world{c: c, now: time.Now()}
	w.choose()
	for n := range 3 {
		o := &v1alpha1.EtcdMember{}
		o.Name, o.Spec.Template = fmt.Sprintf("store-%d", n), w.target
		if n < 2 {
			o.Status.HealthyHash = w.hash
		}
		w.members = append(w.members, &member{o: o, healthy: n < 2})
	}
	if w.trying(w.members[2]) {
		t.Error("a member that fails in the middle of a change is never replaced, though two bear the change")
	}
	w.members[0].o.Status.HealthyHash, w.members[1].o.Status.HealthyHash = "", ""
	if !w.trying(w.members[2]) {
		t.Error("what nobody bore is the fault of the member")
	}
}

func TestWhileAClusterIsPausedNothingIsTakenForSettled(t *testing.T) {
	c := &v1alpha1.EtcdCluster{}
	c.Spec.Version, c.Spec.Paused = "3.7.3", true
	before := render.TemplateOf(c)
	before.Version = "3.7.2"
	c.Status.Template = &before
	w := &world{c: c, now: time.Now()}
	w.choose()
	w.settle(plan.Step{Act: plan.Wait})
	if c.Status.Template.Version != "3.7.2" {
		t.Errorf("a change that nobody bore yet is what a failure goes back to: %s", c.Status.Template.Version)
	}
}

func TestAClusterThatIsMadeAnewAtOnceIsFormed(t *testing.T) {
	b := newBench(t)
	former := b.cluster(nil)
	b.reconcile(20)
	if len(b.members()) != 1 {
		t.Fatalf("%d members", len(b.members()))
	}
	b.try(b.client.Delete(t.Context(), former))
	again := b.cluster(nil)
	b.reconcile(20)
	m := b.members()[0]
	b.try(b.client.Delete(t.Context(), &m)) // as the collection of garbage does
	for {
		select {
		case <-b.events.Events:
			continue
		default:
		}
		break
	}
	b.reconcile(20)
	if n := len(b.events.Events); n > 10 {
		t.Errorf("%d events in 20 reconciles", n)
	}
	all := b.members()
	if len(all) != 1 || !metav1.IsControlledBy(&all[0], again) {
		t.Errorf("%d members, the first one of %v, wanted one of %s", len(all), all[0].OwnerReferences, again.UID)
	}
}

func TestAMemberWithoutItsLabelDoesNotKeepANamespaceFromItsEnd(t *testing.T) {
	b := newBench(t)
	c := b.cluster(nil)
	b.reconcile(20)
	m := b.members()[0]
	m.Labels = nil // by somebody's hand
	b.try(b.client.Update(t.Context(), &m))
	b.try(b.client.Delete(t.Context(), &m))
	b.try(b.client.Delete(t.Context(), c))
	b.reconcile(1)
	if all := b.members(); len(all) != 0 {
		t.Errorf("%s stays, with the finalizers %v", all[0].Name, all[0].Finalizers)
	}
}

// TestAMemberIsMadeOnceThoughTheCacheDoesNotKnowItYet has the cache be behind by one member.
func TestAMemberIsMadeOnceThoughTheCacheDoesNotKnowItYet(t *testing.T) {
	b := newBench(t)
	c := b.cluster(nil)
	b.reconcile(20)
	w := b.lookAt(c)
	w.members = nil
	var d done
	_, err := b.act(t.Context(), w, plan.Step{Act: plan.MakeMember}, &d)
	b.try(err)
	if n := len(b.members()); n != 1 {
		t.Errorf("%d members", n)
	}
}

func TestNothingIsTakenAwayByASpecThatHasChanged(t *testing.T) {
	b := newBench(t)
	c := b.cluster(nil)
	b.reconcile(20)
	w := b.lookAt(c)
	zero := int32(0)
	w.c.Spec.Replicas, w.c.Status.ClusterID = &zero, "abc" // as it was before somebody resumed it
	w.c.Generation--
	var d done
	_, err := b.act(t.Context(), w, plan.Step{Act: plan.StopPod, Member: w.members[0].o.Name}, &d)
	b.try(err)
	if len(b.lookAt(c).members) != 1 || b.lookAt(c).members[0].pod == nil {
		t.Error("the pod was stopped")
	}
}

func TestASecretWithoutItsLabelIsNotTakenForLost(t *testing.T) {
	b := newBench(t)
	c := b.cluster(func(c *v1alpha1.EtcdCluster) { c.Spec.TLS.Mode = v1alpha1.EtcdTLSOperator })
	b.reconcile(30)
	wanted := wantedCertificates(c, nil)
	ca, key := &corev1.Secret{}, client.ObjectKey{Namespace: "default", Name: wanted.CASecret()}
	b.try(b.client.Get(t.Context(), key, ca))
	before := ca.DeepCopy()
	ca.Labels = nil // by somebody's hand
	b.try(b.client.Update(t.Context(), ca))
	b.trust.set(idOf(c), nil) // as after a minute
	b.reconcile(5)
	b.try(b.client.Get(t.Context(), key, ca))
	if !reflect.DeepEqual(ca.Data, before.Data) || ca.Labels[render.LabelCluster] != b.name {
		t.Errorf("labels %v, and the same data: %t", ca.Labels, reflect.DeepEqual(ca.Data, before.Data))
	}
}
