package clusters

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Object is a pointer to an object of the type T, such as *corev1.Pod.
type Object[T any] interface {
	*T
	client.Object
}

// ObjectList is a pointer to a list of the type T, such as *corev1.PodList.
type ObjectList[T any] interface {
	*T
	client.ObjectList
}

// Get reads one object: Get[corev1.Pod](ctx, cluster.Client, "default", "edge"). Its errors are those of
// the reader. What comes from a cache is a copy, which the caller may change.
func Get[T any, P Object[T]](ctx context.Context, from client.Reader, namespace, name string) (P, error) {
	object := P(new(T))
	if err := from.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, object); err != nil {
		return nil, err
	}
	return object, nil
}

// List reads the objects of a namespace, or of all where it is empty:
// List[corev1.PodList](ctx, cluster.Client, "default", client.MatchingLabels{"app": "edge"}).
func List[T any, P ObjectList[T]](ctx context.Context, from client.Reader, namespace string, opts ...client.ListOption) (P, error) {
	list := P(new(T))
	if err := from.List(ctx, list, append([]client.ListOption{client.InNamespace(namespace)}, opts...)...); err != nil {
		return nil, err
	}
	return list, nil
}

// Apply writes an object by server-side apply as the field owner of that name, and returns it as the API
// server has it now. The configuration is not changed, so the same may be applied again:
//
//	Apply[appsv1.Deployment](ctx, cluster.Client, "gridrouter-operator", configuration, client.ForceOwnership)
//
// Without client.ForceOwnership, fields that another owns with other values are a conflict.
func Apply[T any, P Object[T]](ctx context.Context, to client.Client, owner string, configuration runtime.ApplyConfiguration, opts ...client.ApplyOption) (P, error) {
	form, err := copyOf(configuration)
	if err != nil {
		return nil, err
	}
	if err := to.Apply(ctx, client.ApplyConfigurationFromUnstructured(form), append([]client.ApplyOption{client.FieldOwner(owner)}, opts...)...); err != nil {
		return nil, err
	}
	return typed[T, P](form)
}

// ApplyStatus is [Apply] for the status of an object, which must be there.
func ApplyStatus[T any, P Object[T]](ctx context.Context, to client.Client, owner string, configuration runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) (P, error) {
	form, err := copyOf(configuration)
	if err != nil {
		return nil, err
	}
	if err := to.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(form), append([]client.SubResourceApplyOption{client.FieldOwner(owner)}, opts...)...); err != nil {
		return nil, err
	}
	return typed[T, P](form)
}

// copyOf copies a configuration: the client writes the server's answer into what it is given.
func copyOf(configuration runtime.ApplyConfiguration) (*unstructured.Unstructured, error) {
	text, err := json.Marshal(configuration)
	if err != nil {
		return nil, fmt.Errorf("apply configuration %T: %w", configuration, err)
	}
	form := &unstructured.Unstructured{}
	if err := form.UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("apply configuration %T has no kind: %w", configuration, err)
	}
	return form, nil
}

func typed[T any, P Object[T]](form *unstructured.Unstructured) (P, error) {
	object := P(new(T))
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(form.Object, object); err != nil {
		return nil, fmt.Errorf("the API server answered with another kind: %w", err)
	}
	return object, nil
}
