package catalog

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"gridrouter.io/routing/compile"
)

// Item is one stored document.
type Item struct {
	// Key is the document's key, such as tenants/acme.
	Key string
	// Value is the stored form.
	Value []byte
	// Document is what could be read of it; complete only if Err is nil.
	Document any
	// Err says what is wrong with the stored form.
	Err error
	// Revision and Created are etcd's revisions of its last write and of its creation.
	Revision, Created int64
}

// Get returns one stored document, or [ErrNotFound].
func (c *Catalog) Get(ctx context.Context, key string) (Item, error) {
	answer, err := c.get(ctx, c.at.doc(key))
	if err != nil {
		return Item{}, err
	}
	if len(answer.Kvs) == 0 {
		return Item{}, fmt.Errorf("%s: %w in etcd", describe(key), ErrNotFound)
	}
	return c.item(answer.Kvs[0]), nil
}

func (c *Catalog) item(kv *mvccpb.KeyValue) Item {
	it := Item{
		Key:   strings.TrimPrefix(string(kv.Key), c.at.docs()),
		Value: kv.Value, Revision: kv.ModRevision, Created: kv.CreateRevision,
	}
	it.Document, it.Err = c.reader.Decode(it.Key, kv.Value)
	return it
}

// List hands all stored documents under a folder, such as "tenants/" or "pins/acme/", to
// page, in the order of their keys, some at a time, as they stood at one revision. An empty
// folder is all documents. It returns that revision.
func (c *Catalog) List(ctx context.Context, folder string, page func([]Item) error) (int64, error) {
	s := &snapshot{Catalog: c}
	err := s.scan(ctx, c.at.doc(folder), documentPage, func(kvs []*mvccpb.KeyValue) error {
		items := make([]Item, len(kvs))
		for i, kv := range kvs {
			items[i] = c.item(kv)
		}
		return page(items)
	})
	return s.revision, err
}

// GetMany returns those of the documents that are stored, by key, at one revision.
func (c *Catalog) GetMany(ctx context.Context, keys []string) (map[string]Item, error) {
	s := &snapshot{Catalog: c}
	items := make(map[string]Item, len(keys))
	err := s.keys(ctx, c.at.docs(), keys, func(key string, kv *mvccpb.KeyValue) { items[key] = c.item(kv) })
	return items, err
}

// Update returns all stored documents as a compiler takes them, so that what routers
// would decide can be said without one.
func (c *Catalog) Update(ctx context.Context) (compile.Update, error) {
	update := compile.Update{Whole: true}
	s := &snapshot{Catalog: c}
	err := s.scan(ctx, c.at.docs(), documentPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			update.Revision = max(update.Revision, kv.ModRevision)
			update.Changes = append(update.Changes, compile.Change{
				Key: strings.TrimPrefix(string(kv.Key), c.at.docs()), Value: kv.Value,
				Revision: kv.ModRevision, Created: kv.CreateRevision, Origin: string(kv.Key),
			})
		}
		return nil
	})
	return update, err
}
