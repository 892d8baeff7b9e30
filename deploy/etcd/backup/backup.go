// Package backup makes backups of etcd clusters, and keeps them: full ones, the changes after them, what
// is wrong with them, and which of them may go. It knows nothing of Kubernetes.
//
// [Take] makes a full backup; [Follow] adds what changes after it; [List], [Open] and [Chain.Check] say
// what is there; [Prune] removes what is old. How backups become data of etcd again is in package restore.
// What the objects are is in package chain, where they are kept in package store.
package backup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/store"
)

// Source is the etcd cluster that backups are made of.
type Source struct {
	// Endpoints are URLs of its members; at least one.
	Endpoints []string
	// Connect makes a client of some of them; who calls it closes it.
	Connect func(endpoints ...string) (*clientv3.Client, error)
}

// Config is what both [Take] and [Follow] need.
type Config struct {
	Source Source
	Store  store.Store
	// Scratch is a folder with room for one snapshot; empty: the system's for temporary files.
	Scratch string
	// Report hears in words what goes on; nil: nobody does.
	Report func(text string)
}

func (c *Config) report(format string, args ...any) {
	if c.Report != nil {
		c.Report(fmt.Sprintf(format, args...))
	}
}

// DamageError says what is wrong with an object of a chain.
type DamageError struct {
	// Object is its name, Problem what is wrong with it.
	Object  string `json:"object"`
	Problem string `json:"problem"`
}

// Error names the object.
func (d *DamageError) Error() string { return d.Object + ": " + d.Problem }

// ErrNone says that a store has no backup that would do.
var ErrNone = errors.New("there is no such backup; list shows those that are there")

const (
	// askWait bounds one question to etcd that is answered at once.
	askWait = 10 * time.Second
	// hashWait bounds the reckoning of a hash over all keys.
	hashWait = 2 * time.Minute
)

func hexID(id uint64) string { return strconv.FormatUint(id, 16) }

// hashAt asks members in turn for the hash of all keys at a revision; nil and the last error if none says it.
// What a member says of another revision is of no use.
func hashAt(ctx context.Context, client clientv3.Maintenance, endpoints []string, revision int64) (*chain.HashKV, error) {
	err := errors.New("no member was asked")
	for _, endpoint := range endpoints {
		var answer *clientv3.HashKVResponse
		if answer, err = ask(ctx, hashWait, func(ctx context.Context) (*clientv3.HashKVResponse, error) {
			return client.HashKV(ctx, endpoint, revision)
		}); err != nil {
			continue
		}
		if said := answer.HashRevision; said != 0 && said != revision {
			err = fmt.Errorf("asked for revision %d, it said the hash of %d", revision, said)
			continue
		}
		return &chain.HashKV{Hash: answer.Hash, Revision: revision, CompactRevision: answer.CompactRevision}, nil
	}
	return nil, err
}

// ask bounds one call.
func ask[A any](ctx context.Context, wait time.Duration, call func(context.Context) (A, error)) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return call(ctx)
}
