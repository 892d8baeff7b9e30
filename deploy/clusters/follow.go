package clusters

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// inCluster stands for the hash of a kubeconfig where there is none.
const inCluster = "in-cluster"

// follow fills the caches of connections and Secrets and begins to act on their changes.
func (r *Registry) follow(ctx context.Context) error {
	secrets, err := cache.New(r.local.GetConfig(), cache.Options{
		HTTPClient: r.local.GetHTTPClient(), Scheme: r.local.GetScheme(), Mapper: r.local.GetRESTMapper(),
		ReaderFailOnMissingInformer: true, DefaultNamespaces: r.o.Namespaces,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Label: labels.SelectorFromSet(labels.Set{v1alpha1.KubeconfigLabel: "true"})},
		},
	})
	if err != nil {
		return err
	}
	r.running.Go(func() {
		if err := secrets.Start(ctx); err != nil {
			r.o.Log.Error(err, "Secrets with kubeconfigs are not followed")
		}
	})
	r.ctx, r.secrets = ctx, secrets
	followed := []struct {
		cache  cache.Cache
		object client.Object
		handle toolscache.ResourceEventHandler
	}{
		{r.local.GetCache(), &v1alpha1.ClusterConnection{}, handler(r.connectionEvent)},
		{secrets, &corev1.Secret{}, handler(r.secretEvent)},
	}
	for _, object := range r.o.Watch {
		followed = append(followed, struct {
			cache  cache.Cache
			object client.Object
			handle toolscache.ResourceEventHandler
		}{r.local.GetCache(), object, handler(r.fleetEvent)})
	}
	for i, f := range followed {
		informer, err := f.cache.GetInformer(ctx, f.object)
		if err != nil {
			return fmt.Errorf("%T: %w", f.object, err)
		}
		if _, err := informer.AddEventHandler(f.handle); err != nil {
			return err
		}
		if i == 1 {
			close(r.started) // connections and Secrets are known; the rest serves others
		}
	}
	return nil
}

// handler calls f with an object that was added, changed (before and after) or deleted. What is told again
// without a change is left out.
func handler(f func(before, after client.Object)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			if after, ok := o.(client.Object); ok {
				f(nil, after)
			}
		},
		UpdateFunc: func(old, o any) {
			before, wasObject := old.(client.Object)
			after, ok := o.(client.Object)
			if wasObject && ok && before.GetResourceVersion() != after.GetResourceVersion() {
				f(before, after)
			}
		},
		DeleteFunc: func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if before, ok := o.(client.Object); ok {
				f(before, nil)
			}
		},
	}
}

// fleetEvent tells of the fleets that an object belongs or belonged to.
func (r *Registry) fleetEvent(before, after client.Object) {
	told := ""
	for _, o := range []client.Object{after, before} {
		if o == nil {
			continue
		}
		if fleet := o.GetLabels()[LabelFleet]; fleet != "" && fleet != told {
			told = fleet
			r.o.Changed(o.GetNamespace(), fleet)
		}
	}
}

func (r *Registry) connectionEvent(before, after client.Object) {
	if before != nil && after != nil && before.GetGeneration() == after.GetGeneration() && before.GetUID() == after.GetUID() {
		return // only its status
	}
	if after == nil {
		after = before
	}
	r.recheck(client.ObjectKeyFromObject(after))
}

func (r *Registry) secretEvent(before, after client.Object) {
	if after == nil {
		after = before
	}
	var all v1alpha1.ClusterConnectionList
	if err := r.local.GetCache().List(r.ctx, &all, client.InNamespace(after.GetNamespace())); err != nil {
		return // only when the registry is being stopped
	}
	for i := range all.Items {
		if ref := all.Items[i].Spec.SecretRef; ref != nil && ref.Name == after.GetName() {
			r.recheck(client.ObjectKeyFromObject(&all.Items[i]))
		}
	}
}

// recheck stops a connection that is not what is wanted any more, and tells so. Where none is running,
// somebody may wait for it.
func (r *Registry) recheck(key types.NamespacedName) {
	r.mu.Lock()
	w := r.resolve(key)
	have := r.connections[key]
	same := have != nil && w.err == nil && have.hash == w.hash
	if !same {
		r.drop(key)
	}
	r.mu.Unlock()
	if !same {
		r.changed(key)
	}
}

// drop stops a connection without waiting for its end. r.mu is held.
func (r *Registry) drop(key types.NamespacedName) {
	if c := r.connections[key]; c != nil {
		delete(r.connections, key)
		c.cancel()
	}
}

// connect returns the running connection of a name, and starts it if need be.
func (r *Registry) connect(ctx context.Context, key types.NamespacedName) (*connection, *UnreachableError) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Wait)
	defer cancel()
	select {
	case <-r.started:
	case <-ctx.Done():
		return nil, unreachable(key, "", "the registry of clusters is not started yet")
	}
	r.mu.Lock()
	w := r.resolve(key)
	c := r.connections[key]
	if c != nil && (w.err != nil || c.hash != w.hash) {
		// Its event is still to come, and will tell.
		r.drop(key)
		c = nil
	}
	if w.err == nil && c == nil {
		c, w.err = r.begin(key, w)
	}
	r.mu.Unlock()
	if w.err != nil {
		return nil, r.sayWhy(ctx, key, w)
	}
	return c, nil
}

// wanted is what a ClusterConnection asks for.
type wanted struct {
	hash       string
	kubeconfig []byte // nil: in cluster
	secret     string // its name, where it was not found
	err        *UnreachableError
}

// resolve reads from caches alone, so that r.mu, which is held, is let go soon.
func (r *Registry) resolve(key types.NamespacedName) wanted {
	var connection v1alpha1.ClusterConnection
	if err := r.local.GetCache().Get(r.ctx, key, &connection); apierrors.IsNotFound(err) {
		return wanted{err: unreachable(key, v1alpha1.ReasonUnreachable, "there is no such ClusterConnection: create it, or name another")}
	} else if err != nil {
		return wanted{err: unreachable(key, "", describe(err))}
	}
	ref := connection.Spec.SecretRef
	if ref == nil {
		return wanted{hash: inCluster}
	}
	var secret corev1.Secret
	if err := r.secrets.Get(r.ctx, types.NamespacedName{Namespace: key.Namespace, Name: ref.Name}, &secret); apierrors.IsNotFound(err) {
		return wanted{secret: ref.Name, err: unreachable(key, v1alpha1.ReasonSecretMissing, fmt.Sprintf("there is no Secret %s", ref.Name))}
	} else if err != nil {
		return wanted{err: unreachable(key, "", describe(err))}
	}
	field := ref.Key
	if field == "" {
		field = "kubeconfig"
	}
	kubeconfig, ok := secret.Data[field]
	if !ok {
		return wanted{err: unreachable(key, v1alpha1.ReasonSecretMissing, fmt.Sprintf("the Secret %s has no key %s", ref.Name, field))}
	}
	return wanted{hash: contentHash(kubeconfig), kubeconfig: kubeconfig}
}

// sayWhy tells a Secret that lacks the label, which is not in the cache, from one that is not there. It reads
// no more of it than its metadata: what is in it was not meant for the operator.
func (r *Registry) sayWhy(ctx context.Context, key types.NamespacedName, w wanted) *UnreachableError {
	if w.secret == "" {
		return w.err
	}
	secret := metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	err := r.local.GetAPIReader().Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: w.secret}, &secret)
	if err == nil && secret.Labels[v1alpha1.KubeconfigLabel] != "true" {
		return unreachable(key, v1alpha1.ReasonSecretUnlabelled,
			fmt.Sprintf("the Secret %s lacks the label %s: \"true\", without which it is not read", w.secret, v1alpha1.KubeconfigLabel))
	}
	return w.err
}

// begin starts a connection. r.mu is held.
func (r *Registry) begin(key types.NamespacedName, w wanted) (*connection, *UnreachableError) {
	if r.ctx.Err() != nil {
		return nil, unreachable(key, "", "the registry of clusters is stopped")
	}
	c, err := newConnection(r, key, w)
	if err != nil {
		return nil, unreachable(key, v1alpha1.ReasonKubeconfigInvalid, fmt.Sprintf("the kubeconfig cannot be used: %v", err))
	}
	r.connections[key] = c
	r.running.Go(c.run)
	return c, nil
}
