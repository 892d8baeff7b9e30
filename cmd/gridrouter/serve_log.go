package main

import (
	"context"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gridrouter.io/discovery"
)

// repeatAfter is how long a warning of what goes on in the background is not repeated.
const repeatAfter = time.Minute

// withoutRepeats returns a logger that repeats no warning within repeatAfter: what is tried again
// all the time fails with the same words all the time.
func withoutRepeats(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return &seldomCore{Core: core, sampled: zapcore.NewSamplerWithOptions(core, repeatAfter, 1, 0)}
	}))
}

// seldomCore samples warnings and passes on everything else.
type seldomCore struct {
	zapcore.Core
	sampled zapcore.Core
}

// With implements [zapcore.Core].
func (c *seldomCore) With(fields []zapcore.Field) zapcore.Core {
	return &seldomCore{Core: c.Core.With(fields), sampled: c.sampled.With(fields)}
}

// Check implements [zapcore.Core].
func (c *seldomCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if entry.Level == zapcore.WarnLevel {
		return c.sampled.Check(entry, checked)
	}
	return c.Core.Check(entry, checked)
}

const (
	lookAtSource = 250 * time.Millisecond
	startPatient = time.Second // that a source may take at the start before it is called absent
)

// watchSource tells of each change of the source's state once, until ctx ends: absent at the start,
// lost, back. absent is what it means for this process that no source was there since it started.
func watchSource(ctx context.Context, source discovery.Source, started time.Time, absent string, log *zap.Logger) error {
	tick := time.NewTicker(lookAtSource)
	defer tick.Stop()
	away := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		status := source.Status()
		switch {
		case status.Connected && away:
			away = false
			log.Info("the source of the documents is back", sourceFields(status)...)
		case status.Connected || away || time.Since(started) < startPatient:
		case !status.Synced:
			away = true
			log.Warn("the source of the documents is absent: "+absent, sourceFields(status)...)
		default:
			away = true
			log.Warn("the source of the documents is lost: the documents in force stay, and it keeps trying", sourceFields(status)...)
		}
	}
}

func sourceFields(status discovery.Status) []zap.Field {
	return []zap.Field{zap.String("source", status.Kind), zap.String("at", status.Detail), zap.Int64("revision", status.Revision),
		zap.Duration("age", status.Age), zap.String("cause", status.LastError)}
}
