package vip

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Provider has LVS forward VIPs. Its methods may be called at once for different fleets, and again and
// again: what is as it should be is left alone.
type Provider interface {
	// Apply brings LVS to what a VIP is to do. An error names the mend; what was in force stays.
	Apply(ctx context.Context, v VIP) error
	// Remove takes a fleet's VIP away; none is no error.
	Remove(ctx context.Context, namespace, fleet string) error
}

const (
	// ConfigKey is the key of the ConfigMap that has the configuration.
	ConfigKey = "keepalived.conf"

	labelFleet = "gridrouter.io/fleet"
)

// ErrConflict says that the ConfigMap's name is taken by an object of somebody else.
var ErrConflict = errors.New("it belongs to somebody else")

// ConfigMapName is the name of a fleet's ConfigMap.
func ConfigMapName(fleet string) string { return fleet + "-keepalived" }

// Keepalived is a [Provider] that renders a configuration of keepalived into the ConfigMap
// NAME-keepalived beside the fleet's other objects. Whoever runs keepalived includes it. It holds nothing
// but its fields, so that each cluster, or each call, may have one of its own.
type Keepalived struct {
	// Client reaches the cluster of the routers. Its reads may be from a cache.
	Client client.Client
	// Live reads past the cache, which may not know an object that lacks the fleet's label. nil: Client does.
	Live client.Reader
	// FieldOwner is who owns the fields by server-side apply.
	FieldOwner string
	// Labels are put on the ConfigMap, beside gridrouter.io/fleet.
	Labels map[string]string
	// Owner is the fleet, if it lies in the same cluster; nil: none.
	Owner *metav1.OwnerReference
}

var _ Provider = Keepalived{}

// Apply writes the ConfigMap if it is not as it should be. An error is that of [Render], [ErrConflict], or
// the cluster's.
func (k Keepalived) Apply(ctx context.Context, v VIP) error {
	text, err := Render(v)
	if err != nil {
		return err
	}
	labels := map[string]string{}
	maps.Copy(labels, k.Labels)
	labels[labelFleet] = v.Fleet
	there, err := k.get(ctx, k.Client, v.Namespace, v.Fleet)
	if err == nil && there == nil && k.Live != nil {
		there, err = k.get(ctx, k.Live, v.Namespace, v.Fleet)
	}
	if err != nil || there != nil && k.asWanted(there, text, labels) {
		return err
	}
	config := corev1ac.ConfigMap(ConfigMapName(v.Fleet), v.Namespace).WithLabels(labels).WithData(map[string]string{ConfigKey: text})
	if o := k.Owner; o != nil {
		config.WithOwnerReferences(metav1ac.OwnerReference().WithAPIVersion(o.APIVersion).WithKind(o.Kind).
			WithName(o.Name).WithUID(o.UID).WithController(true).WithBlockOwnerDeletion(true))
	}
	if err := k.Client.Apply(ctx, config, client.FieldOwner(k.FieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("write ConfigMap %s: %w", ConfigMapName(v.Fleet), err)
	}
	return nil
}

// Remove deletes the ConfigMap; one of somebody else is left alone, without an error.
func (k Keepalived) Remove(ctx context.Context, namespace, fleet string) error {
	there, err := k.get(ctx, k.Client, namespace, fleet)
	switch {
	case errors.Is(err, ErrConflict) || err == nil && there == nil:
		return nil
	case err != nil:
		return err
	}
	// Only the object that was looked at: another one of the name may have come meanwhile.
	err = k.Client.Delete(ctx, there, client.Preconditions{UID: &there.UID})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete ConfigMap %s: %w", there.Name, err)
	}
	return nil
}

// get returns the fleet's ConfigMap; nil: there is none.
func (k Keepalived) get(ctx context.Context, from client.Reader, namespace, fleet string) (*corev1.ConfigMap, error) {
	there := &corev1.ConfigMap{}
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ConfigMapName(fleet)}, there)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // none is no error
	case err != nil:
		return nil, fmt.Errorf("read ConfigMap %s: %w", ConfigMapName(fleet), err)
	}
	controller := metav1.GetControllerOf(there)
	if there.Labels[labelFleet] != fleet || controller != nil && (k.Owner == nil || controller.UID != k.Owner.UID) {
		return nil, fmt.Errorf("ConfigMap %s has a name that the fleet needs: %w; remove or rename it", there.Name, ErrConflict)
	}
	return there, nil
}

func (k Keepalived) asWanted(there *corev1.ConfigMap, text string, labels map[string]string) bool {
	for name, value := range labels {
		if there.Labels[name] != value {
			return false
		}
	}
	return there.Data[ConfigKey] == text && (k.Owner == nil || metav1.GetControllerOf(there) != nil)
}
