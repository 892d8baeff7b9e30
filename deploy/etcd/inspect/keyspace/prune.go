package keyspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

// PruneOptions say which keys are to go.
type PruneOptions struct {
	// Prefix is that of the keys; never empty.
	Prefix string
	// Protected are prefixes of which nothing may go: a prefix that covers one of them, or lies within it, is
	// refused.
	Protected []string
	// Pace bounds what it costs. When keys are deleted, 0 keys a second stand for 1000.
	Pace Pace
}

// Doomed is what a dry run saw. Apply is given it back unchanged.
type Doomed struct {
	// Prefix is that of the keys, as it was given.
	Prefix string `json:"prefix"`
	// ClusterID is the cluster's, in hexadecimal; Revision the one at which the keys were seen.
	ClusterID string `json:"clusterID"`
	Revision  int64  `json:"revision"`
	// Keys counts them; Bytes is the size of keys and values; Leased counts those with a lease.
	Keys   int64 `json:"keys"`
	Bytes  int64 `json:"bytes"`
	Leased int64 `json:"leased"`
	// Sample are some of the keys, spread over all, for people (see brief.Key).
	Sample []string `json:"sample"`
	// Token is a hash of what is above but the sample, and of all keys with their revisions.
	Token string `json:"token"`
	// Digest is the hash of all keys with their revisions, which Token is made with.
	Digest string `json:"digest"`
}

// Pruned is what was removed.
type Pruned struct {
	Prefix string `json:"prefix"`
	// Revision is that of the dry run.
	Revision int64 `json:"revision"`
	// Deleted counts the keys that were removed by this call.
	Deleted int64 `json:"deleted"`
	// Changed counts the keys of the dry run that were kept because they changed since; New those that were
	// created since, and kept. KeptSample are some of both.
	Changed    int64    `json:"changed"`
	New        int64    `json:"new"`
	KeptSample []string `json:"keptSample,omitempty"`
	// Done says that nothing of what the dry run saw is left unchanged.
	Done bool `json:"done"`
}

const (
	// mostSample is how many keys are shown.
	mostSample = 20
	// txnKeys is how many keys one transaction deletes. etcd takes 128 operations by default.
	txnKeys = 32
	// mostPrefix bounds a prefix, so that what a dry run says stays small.
	mostPrefix = 1024
)

func (o *PruneOptions) check() error {
	if o.Prefix == "" {
		return errors.New("the prefix is empty, which is all keys: name the prefix of the keys that are to go")
	}
	if len(o.Prefix) > mostPrefix {
		return fmt.Errorf("the prefix has %d bytes: at most %d are taken", len(o.Prefix), mostPrefix)
	}
	if !utf8.ValidString(o.Prefix) {
		return errors.New("the prefix is no UTF-8, so that no dry run can tell it: name a longer or shorter one that is")
	}
	for _, protected := range o.Protected {
		switch {
		case protected == "":
			return errors.New("a protected prefix is empty: leave it out, or name what is protected")
		case strings.HasPrefix(protected, o.Prefix):
			return fmt.Errorf("the prefix %s covers %s, which is protected: name a longer prefix beside it", brief.Key([]byte(o.Prefix)), brief.Key([]byte(protected)))
		case strings.HasPrefix(o.Prefix, protected):
			return fmt.Errorf("the prefix %s lies within %s, which is protected: remove what is in it by the tool that writes it", brief.Key([]byte(o.Prefix)), brief.Key([]byte(protected)))
		}
	}
	return o.Pace.check()
}

// DryRun goes through the keys under a prefix, with their values, and says what [Apply] would remove. It
// changes nothing.
func DryRun(ctx context.Context, kv clientv3.KV, options PruneOptions) (Doomed, error) {
	if err := options.check(); err != nil {
		return Doomed{}, err
	}
	cluster, _, err := clusterOf(ctx, kv, options.Prefix)
	if err != nil {
		return Doomed{}, err
	}
	// It must know what all agreed upon: what a follower has not yet would be taken for new when it is applied.
	w := &walk{kv: kv, prefix: options.Prefix, meter: newMeter(options.Pace), linearizable: true}
	w.values = func(int) bool { return true }
	d := Doomed{Prefix: options.Prefix, ClusterID: cluster}
	hash, sample := sha256.New(), sampler{every: 1}
	err = w.run(ctx, func(pair *mvccpb.KeyValue, _ bool) error {
		d.Keys, d.Bytes = d.Keys+1, d.Bytes+int64(len(pair.Key)+len(pair.Value))
		if pair.Lease != 0 {
			d.Leased++
		}
		sample.add(pair.Key)
		_, _ = fmt.Fprintf(hash, "%d %s %d\n", len(pair.Key), pair.Key, pair.ModRevision) // a hash takes everything
		return nil
	})
	if err != nil {
		return Doomed{}, err
	}
	if w.last != w.revision {
		return Doomed{}, fmt.Errorf("revision %d was compacted while its keys were gone through: try again, at a higher pace or while fewer compactions run", w.revision)
	}
	d.Revision, d.Sample, d.Digest = w.revision, sample.kept, hex.EncodeToString(hash.Sum(nil))
	d.Token = d.token()
	return d, brief.Fit(&d, func() bool { return brief.DropLast(&d.Sample) })
}

// token holds together what a dry run says.
func (d Doomed) token() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "prune %q %q %d %d %d %d %q", d.Prefix, d.ClusterID, d.Revision, d.Keys, d.Bytes, d.Leased, d.Digest))
	return hex.EncodeToString(sum[:16])
}

func clusterOf(ctx context.Context, kv clientv3.KV, prefix string) (id string, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	answer, err := kv.Get(ctx, prefix, clientv3.WithKeysOnly())
	if err != nil {
		return "", 0, fmt.Errorf("ask etcd: %w", err)
	}
	return fmt.Sprintf("%x", answer.Header.ClusterId), answer.Header.Revision, nil
}

// Apply removes the keys that a dry run saw and that have not changed since, in small transactions each of
// which compares the keys' revisions. Keys that were written or created since are kept and counted. Token is
// the one that a person read in the dry run, so that it is this dry run that is applied.
//
// It may be called again with the same dry run, after an error or the end of ctx: it goes on with what is left,
// and with nothing left it removes nothing. What it did before an error stands in the result.
func Apply(ctx context.Context, kv clientv3.KV, options PruneOptions, seen Doomed, token string) (Pruned, error) {
	if options.Pace.Keys == 0 {
		options.Pace.Keys = 1000
	}
	p := Pruned{Prefix: brief.Key([]byte(options.Prefix)), Revision: seen.Revision}
	if err := options.check(); err != nil {
		return p, err
	}
	if err := seen.holds(options.Prefix, token); err != nil {
		return p, err
	}
	cluster, revision, err := clusterOf(ctx, kv, options.Prefix)
	switch {
	case err != nil:
		return p, err
	case cluster != seen.ClusterID:
		return p, fmt.Errorf("the dry run was of cluster %s, this one is %s: make a dry run of this one", brief.Text(seen.ClusterID), cluster)
	case revision < seen.Revision:
		return p, fmt.Errorf("the cluster is at revision %d, before that of the dry run, %d: it was restored since; make a new dry run", revision, seen.Revision)
	}
	r := &remover{kv: kv, seen: seen, out: &p, meter: newMeter(options.Pace), sample: sampler{every: 1}}
	// Keys are read without values, from all of the cluster, so that what was written before is known.
	w := &walk{kv: kv, prefix: options.Prefix, meter: newMeter(Pace{Keys: max(options.Pace.Keys, 20_000), Bytes: options.Pace.Bytes, Page: options.Pace.Page}), linearizable: true}
	err = w.run(ctx, func(pair *mvccpb.KeyValue, _ bool) error { return r.see(ctx, pair) })
	if err == nil {
		err = r.flush(ctx)
	}
	p.KeptSample, p.Done = r.sample.kept, err == nil
	return p, errors.Join(err, brief.Fit(&p, func() bool { return brief.DropLast(&p.KeptSample) }))
}

// holds says what is wrong with a dry run that is to be applied.
func (d Doomed) holds(prefix, token string) error {
	switch {
	case token == "":
		return errors.New("no token: make a dry run, read what it says, and give the token that it ends with")
	case d.Prefix != prefix:
		return fmt.Errorf("the dry run was of %s, not of %s: make one of the prefix that is to go", brief.Key([]byte(d.Prefix)), brief.Key([]byte(prefix)))
	case d.Revision <= 0 || d.Token != d.token() || token != d.Token:
		return errors.New("the token is not that of the dry run: give both as the dry run told them")
	}
	return nil
}

// remover deletes keys as they are seen.
type remover struct {
	kv     clientv3.KV
	seen   Doomed
	out    *Pruned
	meter  *meter
	sample sampler
	batch  []*mvccpb.KeyValue
}

func (r *remover) see(ctx context.Context, pair *mvccpb.KeyValue) error {
	switch {
	case pair.CreateRevision > r.seen.Revision:
		r.out.New++
		r.sample.add(pair.Key)
		return nil
	case pair.ModRevision > r.seen.Revision:
		r.out.Changed++
		r.sample.add(pair.Key)
		return nil
	}
	// What has not changed since the dry run's revision and was there then is what the dry run saw.
	r.batch = append(r.batch, pair)
	if len(r.batch) < txnKeys {
		return nil
	}
	return r.flush(ctx)
}

// flush deletes what was gathered.
func (r *remover) flush(ctx context.Context) error {
	batch := r.batch
	r.batch = nil
	if len(batch) == 0 {
		return nil
	}
	if r.out.Deleted+int64(len(batch)) > r.seen.Keys {
		return fmt.Errorf("there are more keys than the %d of the dry run: make a new one", r.seen.Keys)
	}
	bytes := 0
	for _, pair := range batch {
		bytes += len(pair.Key)
	}
	if err := r.meter.spent(ctx, len(batch), bytes); err != nil {
		return err
	}
	done, err := r.remove(ctx, batch...)
	if err != nil || done {
		return err
	}
	for _, pair := range batch { // one of them changed at this moment
		done, err := r.remove(ctx, pair)
		if err != nil {
			return err
		}
		if !done {
			r.out.Changed++
			r.sample.add(pair.Key)
		}
	}
	return nil
}

// remove deletes keys if none of them has changed.
func (r *remover) remove(ctx context.Context, pairs ...*mvccpb.KeyValue) (bool, error) {
	same, deletions := make([]clientv3.Cmp, 0, len(pairs)), make([]clientv3.Op, 0, len(pairs))
	for _, pair := range pairs {
		key := string(pair.Key)
		same = append(same, clientv3.Compare(clientv3.ModRevision(key), "=", pair.ModRevision))
		deletions = append(deletions, clientv3.OpDelete(key))
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	answer, err := r.kv.Txn(ctx).If(same...).Then(deletions...).Commit()
	if err != nil {
		return false, fmt.Errorf("delete keys: %w", err)
	}
	if answer.Succeeded {
		r.out.Deleted += int64(len(pairs))
	}
	return answer.Succeeded, nil
}

// sampler keeps some keys, spread over all that it was shown.
type sampler struct {
	every, seen int
	kept        []string
}

func (s *sampler) add(key []byte) {
	if s.seen%s.every == 0 {
		if len(s.kept) == mostSample { // every other one is let go
			for i := range mostSample / 2 {
				s.kept[i] = s.kept[2*i]
			}
			s.kept, s.every = s.kept[:mostSample/2], s.every*2
		}
		if s.seen%s.every == 0 {
			s.kept = append(s.kept, brief.Key(key))
		}
	}
	s.seen++
}
