package discovery

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	silentIntervals = 3 // progress intervals without an answer are silence
	wedgedSilences  = 5 // times that, while etcd answers otherwise, or behind its leader: the stream is given up
	mostDoublings   = 5 // of that patience, from one such stream to the next
	roundsPerClient = 2 // such streams in a row, and the client is made anew
)

// silence is how long a stream may give no sign of life before we wonder.
func (e *Etcd) silence() time.Duration { return silentIntervals * e.cfg.ProgressEvery }

// listenForSilence asks the stream for progress again and again, since a watch
// never fails by itself when its peer falls silent, and looks into a silence.
// What ends the watch goes to doubts, which takes one error without waiting.
//
// A restored etcd is silent to a watch from a revision that it has not reached
// yet. One that cannot be reached is left alone: its client resumes the stream
// as soon as there is a connection. A stream that stays silent although etcd
// answers is given up after patience, counted from its first answer: a large
// backlog takes its time to arrive, and would have to start over. Where a
// connection stands and nothing answers for so long, it is given up with its
// stream: what is at its other end may be no etcd any more.
func (w *watching) listenForSilence(ctx context.Context) {
	silent := false
	var answers, mute time.Time // since when etcd answers, or does not, in this silence
	for w.askProgress(ctx) {
		w.confirmIdle(ctx)
		now := w.Status()
		if silent == now.Connected {
			silent = !now.Connected
			w.logSilence(silent, now)
		}
		if now.Age <= w.silence() || w.applying.Load() {
			answers, mute = time.Time{}, time.Time{}
			continue
		}
		err := w.askLeader(ctx, w.client, now.Revision)
		switch {
		case errors.Is(err, errSourceChanged):
		case timedOut(err) && !w.disconnected():
			answers = time.Time{}
			if !hasLasted(&mute, wedgedSilences*w.silence()) {
				continue
			}
			err = errUnreachable
		case err != nil:
			answers, mute = time.Time{}, time.Time{}
			continue
		default:
			mute = time.Time{}
			if !hasLasted(&answers, w.uselessLimit()) {
				continue
			}
			err = errStreamSilent
		}
		w.doubts <- err
		return
	}
}

// confirmIdle asks the leader instead of the stream where that cannot answer: etcd answers no request for
// progress before it has come to the revision that a watch begins at, and ours begins at the one after
// all that we know. While nothing at all is written, as where an etcd is full or only read, it would
// look silent. That nothing is newer than what we have is proof enough.
func (w *watching) confirmIdle(ctx context.Context) {
	now := w.Status()
	if now.Revision >= w.from || now.Age < w.cfg.ProgressEvery || !w.opened.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ProgressEvery)
	defer cancel()
	answer, err := w.client.Get(ctx, w.cfg.Root, clientv3.WithCountOnly())
	if err == nil && answer.Header.ClusterId == w.clusterID && answer.Header.Revision == now.Revision {
		w.track.confirmed(now.Revision)
	}
}

// uselessLimit is how long a stream may be of no use until it is given up: longer
// from one such stream to the next.
func (e *Etcd) uselessLimit() time.Duration {
	return wedgedSilences * e.silence() << min(e.givenUp.Load(), mostDoublings)
}

// hasLasted says whether what began at since, or begins now, has lasted for so long.
func hasLasted(since *time.Time, long time.Duration) bool {
	if since.IsZero() {
		*since = time.Now()
	}
	return time.Since(*since) >= long
}

func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

// askProgress asks once, gives the answer time, and reports whether the watch
// still goes on.
func (w *watching) askProgress(ctx context.Context) bool {
	asked, cancel := context.WithTimeout(ctx, w.cfg.ProgressEvery)
	defer cancel()
	if w.opened.Load() {
		_ = w.client.RequestProgress(asked) // what counts is the answer
	}
	return pauses(ctx, jittered(w.cfg.ProgressEvery))
}

// askLeader reads through the leader, so at the newest revision there is, and
// checks that this is still the source whose revision seen is.
func (e *Etcd) askLeader(ctx context.Context, client *clientv3.Client, seen int64) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	answer, err := client.Get(ctx, e.cfg.Root, clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if answer.Header.ClusterId != e.clusterID || answer.Header.Revision < seen {
		return errSourceChanged
	}
	return nil
}

func (e *Etcd) logSilence(silent bool, status Status) {
	if silent {
		e.metrics.failures.Inc()
		e.log.Warn("etcd is silent", zap.String("root", e.cfg.Root), zap.String("cause", status.LastError))
	} else {
		e.log.Info("etcd answers again", zap.String("root", e.cfg.Root), zap.Int64("revision", status.Revision))
	}
}
