package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// When etcd is restored from a backup, tenants have lower epochs than routers have seen, and these
// keep what they have in force. A router that starts then has seen nothing, and would serve such
// a tenant from the deck of the backup: two decks for one tenant. So routers that lived through the
// restore write down the epochs that they have seen, of those tenants alone, where new ones read
// them before any document; and whoever writes documents goes on above them.

// EpochsFolder is where, relative to <prefix>guard/, the epochs that routers have seen are.
const EpochsFolder = "epochs/"

// epochShards is over how many keys the epochs are spread, so that each value stays small.
const epochShards = 64

// epochs is the etcd key of the record that a tenant's epoch is in.
func (l layout) epochs(tenant string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(tenant))
	return fmt.Sprintf("%sguard/%s%02x", string(l), EpochsFolder, sum.Sum32()%epochShards)
}

// DecodeEpochs reads a record of epochs: by tenant.
func DecodeEpochs(value []byte) (map[string]uint64, error) {
	var epochs map[string]uint64
	if err := json.Unmarshal(value, &epochs); err != nil {
		return nil, fmt.Errorf("is no record of epochs: %w", err)
	}
	maps.DeleteFunc(epochs, func(name string, epoch uint64) bool {
		return routing.CheckName(name) != nil || epoch > routing.MaxEpoch
	})
	return epochs, nil
}

// RecordEpochs writes down epochs of tenants that a router has seen, where they are not yet. What is
// there stays, unless it is lower. Many routers may do so at once.
func (c *Catalog) RecordEpochs(ctx context.Context, seen map[string]uint64) error {
	shards := map[string]map[string]uint64{}
	for name, epoch := range seen {
		key := c.at.epochs(name)
		if shards[key] == nil {
			shards[key] = map[string]uint64{}
		}
		shards[key][name] = epoch
	}
	for _, key := range sortedKeys(shards) {
		if err := c.recordShard(ctx, key, shards[key]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Catalog) recordShard(ctx context.Context, key string, seen map[string]uint64) error {
	for {
		answer, err := c.get(ctx, key)
		if err != nil {
			return err
		}
		stored, revision := map[string]uint64{}, int64(0)
		if len(answer.Kvs) > 0 {
			revision = answer.Kvs[0].ModRevision
			if read, err := DecodeEpochs(answer.Kvs[0].Value); err == nil && read != nil {
				stored = read
			}
		}
		news := false
		for name, epoch := range seen {
			if epoch > stored[name] {
				stored[name], news = epoch, true
			}
		}
		if !news {
			return nil
		}
		text, err := json.Marshal(stored)
		if err != nil {
			return err
		}
		done, err := c.txn(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", revision)}, []clientv3.Op{clientv3.OpPut(key, string(text))}, nil)
		if err != nil || done.Succeeded {
			return err
		}
	}
}

// readSeen reads the epochs that routers have seen of tenants that may be written.
func (s *snapshot) readSeen(ctx context.Context, w *world) error {
	wanted := map[string][]*item{} // by etcd key
	for _, it := range w.items {
		if folder, tenant := folderOf(it.key); folder == FolderTenants {
			key := s.at.epochs(tenant)
			wanted[key] = append(wanted[key], it)
		}
	}
	read := func(key string) clientv3.Op { return clientv3.OpGet(key, s.options()...) }
	err := s.many(ctx, sortedKeys(wanted), read, func(key string, kvs []*mvccpb.KeyValue) {
		for _, kv := range kvs {
			epochs, err := DecodeEpochs(kv.Value)
			if err != nil {
				continue // routers ignore it too
			}
			for _, it := range wanted[key] {
				_, tenant := folderOf(it.key)
				it.seen = epochs[tenant]
			}
		}
	})
	if errors.Is(err, rpctypes.ErrPermissionDenied) {
		return nil // who may not read them is refused by the routers that have them
	}
	return err
}

// Rewound is a tenant whose stored epoch is lower than one that a router has seen.
type Rewound struct {
	Tenant string `json:"tenant"`
	// Stored is the epoch of the document, 0 if there is none, Seen the highest one that was seen.
	Stored uint64 `json:"stored"`
	Seen   uint64 `json:"seen"`
	value  []byte
}

// Rewound lists the tenants that a restore of etcd has set back, by name. Those that are not stored
// at all are left out: they go on above what was seen when they come back.
func (c *Catalog) Rewound(ctx context.Context) ([]Rewound, error) {
	s := &snapshot{Catalog: c}
	seen := map[string]uint64{}
	err := s.scan(ctx, string(s.at)+"guard/"+EpochsFolder, documentPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			if epochs, err := DecodeEpochs(kv.Value); err == nil {
				maps.Copy(seen, epochs)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var rewound []Rewound
	read := func(name string) clientv3.Op { return clientv3.OpGet(s.at.doc(tenantKey(name)), s.options()...) }
	err = s.many(ctx, sortedKeys(seen), read, func(name string, kvs []*mvccpb.KeyValue) {
		if len(kvs) == 1 {
			if stored := epochOf(kvs[0].Value); stored < seen[name] {
				rewound = append(rewound, Rewound{name, stored, seen[name], kvs[0].Value})
			}
		}
	})
	slices.SortFunc(rewound, func(a, b Rewound) int { return strings.Compare(a.Tenant, b.Tenant) })
	return rewound, err
}

// PlanRestored returns what settles a restore: each tenant whose epoch was set back is written as it
// is stored, with an epoch above all that was seen. Then every router has the restored form in
// force. It returns [ErrNotFound] where nothing was set back. Tenants of which no form can be written, since what is
// stored is bad or was written past its bounds, are left with the reasons, and keep no other one from being settled.
func (c *Catalog) PlanRestored(ctx context.Context, options Options) (plan *Plan, left []error, err error) {
	rewound, err := c.Rewound(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(rewound) == 0 {
		return nil, nil, fmt.Errorf("no tenant's epoch is lower than one that a router has seen: %w", ErrNotFound)
	}
	var docs []document.Parsed
	for _, tenant := range rewound {
		parsed, err := c.reader.ReadFile(tenantKey(tenant.Tenant)+".json", tenant.value)
		if err == nil && len(parsed) == 1 && parsed[0].Err == nil {
			docs = append(docs, parsed[0])
			continue
		}
		left = append(left, &ReasonError{Place: "etcd", Key: tenantKey(tenant.Tenant), Message: "the stored document is bad; apply a good one of it"})
	}
	for len(docs) > 0 {
		plan, err = c.Plan(ctx, docs, options)
		theirs := reasonsByKey(err)
		before := len(docs)
		docs = slices.DeleteFunc(docs, func(doc document.Parsed) bool {
			reasons := theirs[doc.Key]
			left = append(left, reasons...)
			return len(reasons) > 0
		})
		if err == nil || len(docs) == before {
			return plan, left, err
		}
	}
	return nil, nil, refused(left)
}

// reasonsByKey returns the reasons of a refusal that are about one document each.
func reasonsByKey(err error) map[string][]error {
	var refusal *RefusedError
	if !errors.As(err, &refusal) {
		return nil
	}
	reasons := map[string][]error{}
	for _, one := range refusal.Reasons {
		var reason *ReasonError
		if errors.As(one, &reason) && reason.Key != "" {
			reasons[reason.Key] = append(reasons[reason.Key], one)
		}
	}
	return reasons
}
