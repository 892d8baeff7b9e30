package discovery

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/connectivity"
)

var errRewound = fmt.Errorf("etcd's history is another than the one that was followed: %w", errSourceChanged)

// latest is the newest change of a key of ours that the receiver was told of. A cluster that was
// restored from a backup under its old identity counts its revisions on from there, and may have
// passed the cursor before anybody looks, so that neither its id nor its revision gives it away.
// That this change is not in its history does, unless the backup has it, and then nothing of ours
// was lost.
type latest struct {
	key      string // in full; empty: no change is known
	revision int64
	gone     bool
}

// lossSettles is how long what came before a connection was lost is delivered after it.
const lossSettles = 2 * gatherMost

// compareHistories looks into etcd's history whenever the connection was lost and is back: the
// client resumes the stream by itself, as if nothing had been. What ends the watch goes to doubts.
func (w *watching) compareHistories(ctx context.Context) {
	conn := w.client.ActiveConnection()
	for conn.WaitForStateChange(ctx, connectivity.Ready) && pauses(ctx, lossSettles) {
		held := w.position.Load() // nothing of what comes after the loss is in it
		var err error
		for again := true; again; again = err != nil && pauses(ctx, jittered(w.cfg.ProgressEvery)) {
			awaitConnection(ctx, w.client)
			if err = w.sameHistory(ctx, w.client, held); errors.Is(err, errRewound) {
				w.doubts <- err
				return
			}
		}
	}
}

// sameHistory checks that the change that the receiver was told of last, when it was at a position,
// is in etcd's history as of its revision. It returns errRewound if it is not.
func (e *Etcd) sameHistory(ctx context.Context, client *clientv3.Client, held *position) error {
	if held == nil || held.latest.key == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	answer, err := client.Get(ctx, held.latest.key, clientv3.WithRev(held.revision), clientv3.WithKeysOnly())
	compacted := errors.Is(err, rpctypes.ErrCompacted)
	if compacted {
		answer, err = client.Get(ctx, held.latest.key, clientv3.WithKeysOnly())
	}
	switch {
	case errors.Is(err, rpctypes.ErrFutureRev):
		return errRewound
	case err != nil:
		return err
	}
	there := int64(0)
	if len(answer.Kvs) > 0 {
		there = answer.Kvs[0].ModRevision
	}
	want := held.latest.revision
	if held.latest.gone {
		want = 0
	}
	if there == want || compacted && (there == 0 || there > held.latest.revision) { // what came later is not known
		return nil
	}
	e.log.Error("ETCD'S HISTORY IS ANOTHER than the one that was followed: it was restored from a backup, and has come as far again",
		zap.String("root", e.cfg.Root), zap.String("key", held.latest.key), zap.Int64("revision", there), zap.Int64("was", held.latest.revision))
	return errRewound
}
