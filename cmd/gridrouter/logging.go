package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gridrouter.io/cmd/flags"
)

// registerLogLevel adds --log-level to fs.
func registerLogLevel(fs *pflag.FlagSet, level *string) {
	fs.StringVar(level, "log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error")
}

// newLogger returns a logger that writes JSON lines to the standard error output, and the
// level by which it can be turned while it is in use.
func newLogger(level string) (*zap.Logger, zap.AtomicLevel, error) {
	var parsed zapcore.Level
	switch level {
	case "debug", "info", "warn", "error":
		if err := parsed.UnmarshalText([]byte(level)); err != nil {
			return nil, zap.AtomicLevel{}, flags.Usagef("--log-level: %w", err)
		}
	default:
		return nil, zap.AtomicLevel{}, flags.Usagef("--log-level: %q is not a level; write debug, info, warn or error", level)
	}
	atomic := zap.NewAtomicLevelAt(parsed)
	encoder := zap.NewProductionEncoderConfig()
	encoder.TimeKey, encoder.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.Lock(os.Stderr), atomic)
	return zap.New(core), atomic, nil
}

// ignoreBrokenPipes makes a write to stdout or stderr fail like any other where nobody reads
// them any more. Without it the first line after whoever collects the logs has gone would
// end the process, by SIGPIPE and without a word.
func ignoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }
