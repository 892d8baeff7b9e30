package discovery

import (
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// end is the first key behind everything that is followed.
func (e *Etcd) end() string {
	if e.cfg.Marks != "" {
		return clientv3.GetPrefixRangeEnd(e.cfg.Marks)
	}
	return clientv3.GetPrefixRangeEnd(e.cfg.Root)
}

// place says which key of ours a stored key is, if it is one: the range that
// is followed may hold others between the root and the marks.
func (e *Etcd) place(key []byte) (at place, ours bool) {
	full := string(key)
	if relative, under := strings.CutPrefix(full, e.cfg.Root); under {
		return place{key: relative}, true
	}
	if e.cfg.Marks == "" {
		return place{}, false
	}
	relative, under := strings.CutPrefix(full, e.cfg.Marks)
	return place{mark: true, key: relative}, under
}

func newEntry(at place, pair *mvccpb.KeyValue) Entry {
	return Entry{
		Key:      at.key,
		Value:    pair.Value,
		Revision: pair.ModRevision,
		Created:  pair.CreateRevision,
		Origin:   kindEtcd,
	}
}
