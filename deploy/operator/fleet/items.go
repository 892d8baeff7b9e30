package fleet

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// itemsOf returns the objects of a list.
func itemsOf(list client.ObjectList) ([]client.Object, error) {
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	all := make([]client.Object, 0, len(items))
	for _, item := range items {
		o, ok := item.(client.Object)
		if !ok {
			return nil, fmt.Errorf("%T holds a %T, which is no object", list, item)
		}
		all = append(all, o)
	}
	return all, nil
}

// readBefore is a client for one Secret, which was read before.
type readBefore struct {
	client.Client
	secret *corev1.Secret // nil: there was none
}

// Get returns what was read.
func (r readBefore) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	into, ok := o.(*corev1.Secret)
	if !ok || r.secret == nil {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	r.secret.DeepCopyInto(into)
	return nil
}
