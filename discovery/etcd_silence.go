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
	wedgedSilences  = 5 // times that, while etcd answers otherwise: the stream is given up
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
func (e *Etcd) listenForSilence(ctx context.Context, client *clientv3.Client, rounds int, doubts chan<- error) {
	patience := e.silence() * wedgedSilences
	silent := false
	var answers, mute time.Time // since when etcd answers, or does not, in this silence
	for e.askProgress(ctx, client) {
		now := e.Status()
		if silent == now.Connected {
			silent = !now.Connected
			e.logSilence(silent, now)
		}
		if now.Age <= e.silence() || e.applying.Load() {
			answers, mute = time.Time{}, time.Time{}
			continue
		}
		err := e.askLeader(ctx, client, now.Revision)
		switch {
		case errors.Is(err, errSourceChanged):
		case timedOut(err) && !e.disconnected():
			answers = time.Time{}
			if !lasts(&mute, patience) {
				continue
			}
			err = errUnreachable
		case err != nil:
			answers, mute = time.Time{}, time.Time{}
			continue
		default:
			mute = time.Time{}
			if !lasts(&answers, patience<<rounds) {
				continue
			}
			err = errStreamSilent
		}
		doubts <- err
		return
	}
}

// lasts says whether what began at since, or begins now, has lasted for so long.
func lasts(since *time.Time, long time.Duration) bool {
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
func (e *Etcd) askProgress(ctx context.Context, client *clientv3.Client) bool {
	asked, cancel := context.WithTimeout(ctx, e.cfg.ProgressEvery)
	defer cancel()
	_ = client.RequestProgress(asked) // what counts is the answer
	timer := time.NewTimer(jittered(e.cfg.ProgressEvery))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
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
