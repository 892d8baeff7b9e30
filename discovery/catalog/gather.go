package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"gridrouter.io/routing"
)

// claimValue is what a host's claim holds.
type claimValue struct {
	Tenant string `json:"tenant"`
}

// encodeClaim returns the stored form of a claim.
func encodeClaim(tenant string) string {
	// A tenant's name needs no escaping.
	return fmt.Sprintf(`{"tenant":%q}`, tenant)
}

// decodeClaim reads the stored form; what it cannot read belongs to nobody.
func decodeClaim(value []byte) (tenant string, err error) {
	var held claimValue
	if err := json.Unmarshal(value, &held); err != nil {
		return "", fmt.Errorf("is not a claim: %w", err)
	}
	if err := routing.CheckName(held.Tenant); err != nil {
		return "", fmt.Errorf("is not a claim: tenant: %w", err)
	}
	return held.Tenant, nil
}

// gather reads what the given documents touch: all decks; the documents themselves; the
// tenants of pins; the claims of all hosts concerned, and of the wildcards above those
// that are new; for a new wildcard all claims, to find those below it; and the tenants
// behind all these claims.
func (s *snapshot) gather(ctx context.Context, w *world) error {
	for _, step := range []func(context.Context, *world) error{
		s.readDecks, s.readGiven, s.readClaims, s.readHolders, s.readSeen, s.readRecords,
	} {
		if err := step(ctx, w); err != nil {
			return err
		}
	}
	w.revision = s.revision
	return nil
}

func (s *snapshot) readDecks(ctx context.Context, w *world) error {
	return s.scan(ctx, s.at.doc(FolderDecks+"/"), documentPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			s.learn(w, strings.TrimPrefix(string(kv.Key), s.at.docs()), kv)
		}
		return nil
	})
}

// learn notes the stored form of a document.
func (s *snapshot) learn(w *world, key string, kv *mvccpb.KeyValue) {
	it := w.items[key]
	if it == nil {
		it = &item{key: key}
		w.items[key] = it
	}
	it.value, it.mod, it.created = kv.Value, kv.ModRevision, kv.CreateRevision
	it.was, it.wasErr = s.reader.Decode(key, kv.Value)
	it.epoch = max(it.epoch, epochOf(kv.Value))
}

func (s *snapshot) readGiven(ctx context.Context, w *world) error {
	wanted := map[string]bool{}
	for _, it := range w.given {
		if folder, _ := folderOf(it.key); folder != FolderDecks {
			wanted[it.key] = true
		}
		if tenant, isPin := pinTenant(it.key); isPin {
			wanted[tenantKey(tenant)] = true
		}
	}
	return s.readDocuments(ctx, w, sortedKeys(wanted))
}

func (s *snapshot) readDocuments(ctx context.Context, w *world, keys []string) error {
	return s.keys(ctx, s.at.docs(), keys, func(key string, kv *mvccpb.KeyValue) { s.learn(w, key, kv) })
}

// pinTenant returns the tenant in a pin's key.
func pinTenant(key string) (string, bool) {
	folder, rest := folderOf(key)
	if folder != FolderPins {
		return "", false
	}
	tenant, _, _ := strings.Cut(rest, "/")
	return tenant, true
}

func (s *snapshot) readClaims(ctx context.Context, w *world) error {
	hosts, all := map[string]bool{}, false
	for _, it := range w.given {
		if folder, _ := folderOf(it.key); folder != FolderTenants {
			continue
		}
		was, final := it.wasTenant(), tenantOf(it.final())
		for _, host := range slices.Concat(hostsOf(was), hostsOf(final)) {
			hosts[host] = true
		}
		for _, host := range without(hostsOf(final), hostsOf(was)) {
			all = all || strings.HasPrefix(host, "*.")
			for _, above := range routing.WildcardsAbove(host) {
				hosts[above] = true
			}
		}
		for _, host := range without(delegatesOf(was), delegatesOf(final)) {
			all = all || strings.HasPrefix(host, "*.")
			hosts[host] = true
		}
	}
	if all {
		return s.readAllClaims(ctx, w, hosts)
	}
	return s.keys(ctx, s.at.hosts(), sortedKeys(hosts), func(host string, kv *mvccpb.KeyValue) { learnClaim(w, host, kv) })
}

func learnClaim(w *world, host string, kv *mvccpb.KeyValue) {
	tenant, err := decodeClaim(kv.Value)
	if err != nil {
		tenant = ""
	}
	w.claims[host] = claim{tenant, kv.ModRevision}
}

// readAllClaims keeps the claims of the hosts, and those below wildcards that are new
// or delegates that are taken back.
func (s *snapshot) readAllClaims(ctx context.Context, w *world, hosts map[string]bool) error {
	return s.scan(ctx, s.at.hosts(), keyPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			host := strings.TrimPrefix(string(kv.Key), s.at.hosts())
			below := slices.ContainsFunc(routing.WildcardsAbove(host), func(above string) bool { return hosts[above] })
			if hosts[host] || below {
				learnClaim(w, host, kv)
			}
		}
		return nil
	})
}

// readHolders reads the tenants behind the claims.
func (s *snapshot) readHolders(ctx context.Context, w *world) error {
	wanted := map[string]bool{}
	for _, c := range w.claims {
		if key := tenantKey(c.tenant); c.tenant != "" && w.items[key] == nil {
			wanted[key] = true
		}
	}
	return s.readDocuments(ctx, w, sortedKeys(wanted))
}

// readRecords reads the number of the newest record of each document that may be
// written, and for tenants that are not stored the epoch they had.
func (s *snapshot) readRecords(ctx context.Context, w *world) error {
	wanted := map[string]bool{}
	for _, it := range w.given {
		if it.remove || !same(it) {
			wanted[it.key] = true
		}
		if tenant, isPin := pinTenant(it.key); isPin && wanted[it.key] {
			wanted[tenantKey(tenant)] = true
		}
	}
	maps.DeleteFunc(wanted, func(key string, _ bool) bool { return w.items[key] == nil })
	err := s.newestRecords(ctx, sortedKeys(wanted), func(key string, number int64) { w.items[key].record = number })
	if err != nil {
		return err
	}
	for _, it := range w.given {
		readable := it.mod != 0 && it.wasErr == nil && it.epoch <= routing.MaxEpochStep
		if folder, _ := folderOf(it.key); folder != FolderTenants || it.record == 0 || readable {
			continue
		}
		records, err := s.history(ctx, it.key)
		if err != nil {
			return err
		}
		it.epoch = lastEpoch(records, it.epoch)
	}
	return nil
}

// lastEpoch is the highest epoch that a tenant had by its records, the newest first, and its
// stored form. Leaps, which somebody wrote past apply, are left out: routers do not take them.
func lastEpoch(records []Record, stored uint64) (last uint64) {
	take := func(epoch uint64) {
		if routing.EpochFollows(last, epoch) {
			last = max(last, epoch)
		}
	}
	for _, record := range slices.Backward(records) {
		take(epochOf(record.Before))
		take(epochOf(record.After))
	}
	take(stored)
	return last
}
