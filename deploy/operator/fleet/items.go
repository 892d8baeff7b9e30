package fleet

import (
	"context"
	"fmt"

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

// pastTheCache reads objects from the API server itself.
type pastTheCache struct {
	client.Client
	live client.Reader
}

// Get reads an object from the API server.
func (p pastTheCache) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	return p.live.Get(ctx, key, o, options...)
}
