package fleet

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/pki"
	etcdrender "gridrouter.io/deploy/operator/etcd/render"
)

// readEtcdCluster puts in place of the name of an EtcdCluster how routers reach it: by the Service for its clients, and
// with the certificate that it keeps for them. All else goes on as if the spec had named those; nothing of it is written.
func (r *Reconciler) readEtcdCluster(ctx context.Context, w *world) error {
	name := w.fleet.Spec.Etcd.Cluster
	if name == "" {
		return nil
	}
	etcd := &v1alpha1.EtcdCluster{}
	err := r.options.Client.Get(ctx, client.ObjectKey{Namespace: w.fleet.Namespace, Name: name}, etcd)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read EtcdCluster %s: %w", name, err)
	}
	if err != nil {
		w.secrets.withoutEtcd = []string{fmt.Sprintf("EtcdCluster %s is not there: create it, or name another one in etcd.cluster", name)}
	}
	names := pki.Wanted{Cluster: name, Namespace: w.fleet.Namespace}
	scheme, secret := "https", names.UserSecret(etcdrender.ClientUser)
	if err == nil && etcd.Spec.TLS.Mode == v1alpha1.EtcdTLSOff {
		scheme, secret = "http", ""
	}
	w.fleet.Spec.Etcd = v1alpha1.EtcdSource{
		Endpoints: []v1alpha1.EtcdEndpoint{v1alpha1.EtcdEndpoint(fmt.Sprintf("%s://%s:%d", scheme, names.ClientHost(), etcdrender.ClientPort))}, Secret: secret,
	}
	return nil
}
