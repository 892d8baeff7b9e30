package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// watch adds to a chain what etcd tells, until the context ends or something is wrong.
func (f *follower) watch(ctx context.Context, l *link) error {
	watching, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer stop()
	told := f.client.Watch(watching, "\x00", clientv3.WithFromKey(), clientv3.WithRev(l.revision+1), clientv3.WithProgressNotify())
	f.followed = true
	defer func() { f.unsaved = len(l.waiting) > 0 }()
	every, look := time.NewTicker(f.Every), time.NewTicker(f.Look)
	defer every.Stop()
	defer look.Stop()
	for heard := time.Now(); ; {
		var err error
		select {
		case <-ctx.Done():
		case answer, open := <-told:
			if !open && ctx.Err() == nil {
				return errors.New("etcd ended the watch")
			}
			if heard = time.Now(); ctx.Err() == nil {
				err = f.take(ctx, l, answer, heard)
			}
		case <-every.C:
			if silent := time.Since(heard); silent > silence+2*f.Every {
				return fmt.Errorf("etcd has told nothing for %s", silent.Round(time.Second))
			}
			err = f.tick(ctx, watching, l)
		case <-look.C:
			err = f.look(ctx, l)
		}
		switch {
		case ctx.Err() != nil && (err == nil || len(l.waiting) == 0): // what failed may only have been cut short
			return l.end(ctx)
		case err != nil:
			return err
		}
	}
}

// silence is how long etcd may say nothing, not even that there is nothing, beside two periods of asking.
const silence = 20 * time.Second

// tick writes what waits, and has etcd say that nothing newer is on its way.
func (f *follower) tick(ctx, watching context.Context, l *link) error {
	if err := l.write(ctx, false); err != nil {
		return err
	}
	_, err := ask(watching, askWait, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, f.client.RequestProgress(ctx)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("etcd does not say how far it is: %w", err)
	}
	return nil
}

// look writes down how far the chain is, and ends the session where a newer chain is to be gone on with.
func (f *follower) look(ctx context.Context, l *link) error {
	if err := l.write(ctx, false); err != nil {
		return err
	}
	if newer, err := newer(ctx, f.Store, l.chain, l.revision); err != nil {
		return err
	} else if newer {
		f.report("a newer full backup is there; the chain goes on from it")
		return errNewer
	}
	return l.writeHead(ctx, nil)
}

// take adds what one answer of the watch tells.
func (f *follower) take(ctx context.Context, l *link, answer clientv3.WatchResponse, heard time.Time) error {
	if err := answer.Err(); err != nil {
		switch {
		case answer.CompactRevision > 0 || errors.Is(err, rpctypes.ErrCompacted):
			f.begin = fmt.Sprintf("etcd was compacted to revision %d, and chain %s ends at %d", answer.CompactRevision, l.chain, l.revision)
			return errors.New(f.begin)
		case errors.Is(err, rpctypes.ErrPermissionDenied):
			return fmt.Errorf("etcd allows no watch of all keys; its user needs the role root: %w", err)
		}
		return fmt.Errorf("etcd ended the watch: %w", err)
	}
	if cluster := hexID(answer.Header.ClusterId); cluster != l.cluster {
		return fmt.Errorf("cluster %s answers, and the chain is of cluster %s", cluster, l.cluster)
	}
	l.covered = heard
	l.add(answer.Events)
	if l.bytes >= f.MaxBytes {
		return l.write(ctx, false)
	}
	return nil
}

// end writes what waits, with the hash of the last revision, after the context has ended.
func (l *link) end(ctx context.Context) error {
	if len(l.waiting) > 0 {
		return l.write(ctx, true)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWait)
	defer cancel()
	return l.writeHead(ctx, l.hash(ctx, l.revision))
}
