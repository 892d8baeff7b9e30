package kubetest_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
)

func TestTheAPIServerKnowsTheKinds(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(kubetest.Start(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	replicas := int32(2)
	fleet := &v1alpha1.GridRouter{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "edge"}, Spec: v1alpha1.GridRouterSpec{
		Version: "1.4.0", Replicas: &replicas, Etcd: v1alpha1.EtcdSource{Endpoints: []v1alpha1.EtcdEndpoint{"http://etcd:2379"}},
	}}
	if err := c.Create(t.Context(), fleet); err != nil {
		t.Fatal(err)
	}
	if fleet.Spec.Prefix != "/gridrouter/" {
		t.Errorf("the default of prefix was not set: %+v", fleet.Spec)
	}
}
