package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/store"
)

// progressEvery is after how many bytes progress is reported.
const progressEvery = 64 << 20

// Take makes a full backup of one member, a follower if there is one, and returns its manifest. The snapshot
// goes to the store and to the scratch folder at once, and is never whole in memory. It must end with the
// hash that etcd puts there. What cannot be finished leaves at most an object without a manifest, which is
// no backup.
func Take(ctx context.Context, c Config) (*chain.Manifest, error) {
	began := time.Now().UTC()
	m := &chain.Manifest{ID: chain.NewID(began), Taken: began.Truncate(time.Millisecond)}
	endpoint, err := c.choose(ctx, m)
	if err != nil {
		return nil, err
	}
	client, err := c.Source.Connect(endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	c.report("full backup %s of member %s, etcd %s, to %s", m.ID, m.Member, m.EtcdVersion, c.Store)
	if err := c.copySnapshot(ctx, client, m); err != nil {
		return nil, err
	}
	if m.HashKV, err = hashAt(ctx, client, []string{endpoint}, m.Revision); err != nil {
		c.report("revision %d is backed up, but etcd does not say its hash: %v", m.Revision, err)
	}
	data, _, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if err := store.PutBytes(ctx, c.Store, chain.ManifestName(m.ID), data); err != nil {
		return nil, err
	}
	c.report("full backup %s has revision %d, %d bytes", m.ID, m.Revision, m.Size)
	return m, nil
}

// choose asks all members how they are, and picks one that has all revisions, a follower where it can.
func (c *Config) choose(ctx context.Context, m *chain.Manifest) (endpoint string, err error) {
	type member struct {
		endpoint string
		status   *clientv3.StatusResponse
	}
	if len(c.Source.Endpoints) == 0 {
		return "", errors.New("no member of etcd is named")
	}
	client, err := c.Source.Connect(c.Source.Endpoints...)
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close() }()
	var members []member
	for _, at := range c.Source.Endpoints {
		status, err := ask(ctx, askWait, func(ctx context.Context) (*clientv3.StatusResponse, error) { return client.Status(ctx, at) })
		if err != nil {
			c.report("member %s does not answer: %v", at, err)
			continue
		}
		if !status.IsLearner {
			members = append(members, member{at, status})
		}
	}
	if len(members) == 0 {
		return "", errors.New("no member of etcd answers that could be backed up; check --etcd, its certificates and its user")
	}
	newest := slices.MaxFunc(members, func(a, b member) int { return cmp.Compare(a.status.Header.Revision, b.status.Header.Revision) })
	best := newest
	for _, one := range members {
		if one.status.Header.Revision == newest.status.Header.Revision && one.status.Leader != one.status.Header.MemberId {
			best = one
			break
		}
	}
	if said := best.status.Errors; len(said) > 0 { // alarms
		c.report("member %s says of itself: %s", best.endpoint, strings.Join(said, "; "))
	}
	m.Cluster, m.Member, m.EtcdVersion = hexID(best.status.Header.ClusterId), hexID(best.status.Header.MemberId), best.status.Version
	return best.endpoint, nil
}

// copySnapshot puts the snapshot into the store, and reads from a copy of it what its revision is.
func (c *Config) copySnapshot(ctx context.Context, client *clientv3.Client, m *chain.Manifest) (err error) {
	scratch, err := os.CreateTemp(c.Scratch, "etcd-snapshot-*")
	if err != nil {
		return fmt.Errorf("the scratch folder cannot be used: %w", err)
	}
	defer func() {
		_ = scratch.Close()
		_ = os.Remove(scratch.Name())
	}()
	snapshot, err := client.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("etcd gives no snapshot: %w", err)
	}
	sealed, fault := newSeal(), &firstError{}
	stream := io.TeeReader(&source{snapshot, fault}, io.MultiWriter(&scratchFile{scratch, fault}, sealed, &progress{report: c.Report}))
	err = c.Store.Put(ctx, chain.FullName(m.ID), stream, -1)
	if closeErr := snapshot.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("end the snapshot: %w", closeErr)
	}
	if fault.err != nil {
		err = fault.err // the store only passed it on
	}
	if err == nil {
		err = sealed.check()
	}
	if err == nil {
		m.Size, m.SHA256 = sealed.size, sealed.sum()
		m.Revision, m.CompactRevision, err = revisions(scratch.Name())
	}
	if err != nil {
		c.forget(ctx, chain.FullName(m.ID))
	}
	return err
}

// forget removes what is of no use. Where that fails, pruning does it.
func (c *Config) forget(ctx context.Context, object string) {
	_, err := ask(context.WithoutCancel(ctx), askWait, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.Store.Delete(ctx, object)
	})
	if err != nil {
		c.report("what is of no use is left to be pruned: %v", err)
	}
}

// firstError remembers whose fault the end of a stream was.
type firstError struct{ err error }

// source says of etcd's faults that they are etcd's.
type source struct {
	r     io.Reader
	fault *firstError
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && s.fault.err == nil {
		s.fault.err = fmt.Errorf("etcd's snapshot broke off: %w", err)
		if errors.Is(err, rpctypes.ErrPermissionDenied) {
			s.fault.err = fmt.Errorf("etcd allows no snapshot; its user needs the role root: %w", err)
		}
	}
	return n, err
}

// scratchFile says of the scratch folder's faults that they are its own.
type scratchFile struct {
	file  *os.File
	fault *firstError
}

func (s *scratchFile) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	if err != nil && s.fault.err == nil {
		s.fault.err = fmt.Errorf("the scratch folder must have room for a snapshot: %w", err)
	}
	return n, err
}

// progress reports how far a long stream is.
type progress struct {
	report func(text string) // nil: to nobody
	size   int64
}

func (p *progress) Write(data []byte) (int, error) {
	before := p.size / progressEvery
	p.size += int64(len(data))
	if p.size/progressEvery != before && p.report != nil {
		p.report(fmt.Sprintf("%d MiB so far", p.size>>20))
	}
	return len(data), nil
}
