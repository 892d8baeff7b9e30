package accesslog

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

const (
	full  = 64 << 10 // bytes that make a lane be written at once
	bound = 1 << 20  // bytes of a lane beyond which lines are dropped
)

// Config says where the access log goes.
type Config struct {
	// File is the path of a file to append to, which may be a named pipe or a character
	// device; empty: Output.
	File string
	// Output takes the lines if File is empty. It is not closed.
	Output io.Writer
	// Rate is the share of requests that get a line, 0 to 1.
	Rate float64
	// Lanes is how many buffers the lines are gathered in; those that write at the same time do best
	// in different ones. Default 1.
	Lanes int
	// Logger is told when lines cannot be written; nil: nobody is.
	Logger *zap.Logger
}

// Log writes one line of JSON for each request, or for a share of them. Lines are
// gathered and written by one goroutine (logwriter.go); where writing is too slow they are
// dropped and counted, and requests never wait. All methods may be called at once.
type Log struct {
	cfg    Config
	lanes  []lane
	lines  atomic.Uint64 // written
	slow   atomic.Uint64 // lost because too many waited to be written
	failed atomic.Uint64 // lost because they could not be written
	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards what follows; not held while anything is written
	out  io.Writer  // nil: File is a pipe that nobody reads, or the log has ended
	file *os.File
	turn int  // counts what out has been
	shut bool // the log has ended

	writing sync.Mutex // held to write; guards what follows
	torn    int        // the turn of out that ended in the middle of a line; 0: none
	state   state
}

type lane struct {
	mu  sync.Mutex
	buf []byte
	_   [64]byte
}

// Open opens the log and starts its writer, which [Log.Close] ends. It never
// waits: a named pipe that nobody reads is opened as soon as somebody does.
func Open(cfg Config) (*Log, error) {
	if cfg.Rate < 0 || cfg.Rate > 1 {
		return nil, fmt.Errorf("the access log's rate %v is not between 0 and 1", cfg.Rate)
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	l := &Log{cfg: cfg, lanes: make([]lane, max(cfg.Lanes, 1)), out: cfg.Output, turn: 1, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	if err := l.Reopen(); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

// Wants says whether this request gets a line.
func (l *Log) Wants() bool {
	return l.cfg.Rate >= 1 || rand.Float64() < l.cfg.Rate // a sample is no secret
}

// Write takes a line, which ends with a line feed, into a lane, 0 to Lanes-1. It keeps nothing of it.
func (l *Log) Write(index int, line []byte) {
	lane := &l.lanes[index%len(l.lanes)]
	lane.mu.Lock()
	overfull := len(lane.buf) > bound
	if !overfull {
		lane.buf = append(lane.buf, line...)
	}
	due := len(lane.buf) > full
	lane.mu.Unlock()
	if overfull {
		l.slow.Add(1)
	}
	if due {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Counts returns how many lines were written, how many were dropped because too many waited, and
// how many could not be written.
func (l *Log) Counts() (written, dropped, failed uint64) {
	return l.lines.Load(), l.slow.Load(), l.failed.Load()
}
