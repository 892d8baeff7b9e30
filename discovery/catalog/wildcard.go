package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing"
)

// reservation is a wildcard that a tenant claims anew. A transaction can compare keys
// that it names, and a new wildcard conflicts with hosts below it that it cannot name.
// So wildcards are claimed first, on their own: from then on whoever claims a host below
// has to look at them. Then what was claimed below since the plan was made is looked at
// once more, and only then the tenant is written. A reservation that is left behind, its
// tenant not listing the wildcard, is a stale claim, and holds nobody up.
type reservation struct {
	tenant   string
	item     *item
	revision int64 // of the claim that was read; 0: none
}

// reserve claims the plan's new wildcards.
func (r *run) reserve(ctx context.Context) error {
	wildcards := sortedKeys(r.plan.reserved)
	if len(wildcards) == 0 {
		return nil
	}
	for part := range slices.Chunk(wildcards, maxOps) {
		var conditions []condition
		var ops []clientv3.Op
		for _, host := range part {
			held := r.plan.reserved[host]
			conditions = append(conditions, condition{key: r.at.host(host), revision: held.revision})
			ops = append(ops, r.claimOp(claimWrite{host, held.tenant}))
		}
		revision, err := r.commit(ctx, conditions, ops)
		if err != nil {
			return err
		}
		for _, host := range part {
			r.own.keys[r.at.host(host)] = revisions{mod: revision}
		}
	}
	return r.lookBelow(ctx)
}

// lookBelow looks at the claims that were made since the plan, and gives the
// reservations back if one of them lies below a new wildcard.
func (r *run) lookBelow(ctx context.Context) error {
	s := &snapshot{Catalog: r.Catalog}
	var conflict error
	err := s.scan(ctx, r.at.hosts(), keyPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			if r.own.keys[string(kv.Key)].mod != kv.ModRevision && conflict == nil {
				conflict = r.below(strings.TrimPrefix(string(kv.Key), r.at.hosts()), kv.Value)
			}
		}
		return nil
	}, clientv3.WithMinModRev(r.plan.Revision+1))
	if err != nil || conflict == nil {
		return err
	}
	return r.releaseReservations(ctx, conflict)
}

// below returns the conflict of a claim with the new wildcards, if any.
func (r *run) below(host string, value []byte) error {
	tenant, _ := decodeClaim(value)
	if tenant == "" {
		return nil // what cannot be read holds nothing
	}
	for _, above := range routing.WildcardsAbove(host) {
		held := r.plan.reserved[above]
		if held != nil && held.tenant != tenant && !delegated(tenantOf(held.item.given), host) {
			return &ConflictError{fmt.Sprintf("host %s, which lies under %s, was claimed for tenant %s", host, above, tenant)}
		}
	}
	return nil
}

// releaseReservations releases the reservations, as far as they are still ours.
func (r *run) releaseReservations(ctx context.Context, conflict error) error {
	for _, host := range sortedKeys(r.plan.reserved) {
		key := r.at.host(host)
		mine := clientv3.Compare(clientv3.ModRevision(key), "=", r.own.keys[key].mod)
		if _, err := r.txn(ctx, []clientv3.Cmp{mine}, []clientv3.Op{clientv3.OpDelete(key)}, nil); err != nil {
			// The claims that stay are stale; the conflict is what matters.
			return conflict
		}
	}
	return conflict
}
