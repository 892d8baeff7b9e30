package router

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"gridrouter.io/routing"
)

const (
	logFull  = 64 << 10 // bytes that make a lane be written at once
	logBound = 1 << 20  // bytes of a lane beyond which lines are dropped
)

// AccessLogConfig says where the access log goes.
type AccessLogConfig struct {
	// File is the path of a file to append to, which may be a named pipe or a character
	// device; empty: Output.
	File string
	// Output takes the lines if File is empty. It is not closed.
	Output io.Writer
	// Rate is the share of requests that get a line, 0 to 1.
	Rate float64
	// Logger is told when lines cannot be written; nil: nobody is.
	Logger *zap.Logger
}

// AccessLog writes one line of JSON for each request, or for a share of them. Lines are
// gathered and written by one goroutine (logwriter.go); where writing is too slow they are
// dropped and counted, and requests never wait. All methods may be called at once.
type AccessLog struct {
	cfg    AccessLogConfig
	lanes  [lanes]logLane
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
	state   logState
}

type logLane struct {
	mu  sync.Mutex
	buf []byte
	_   [64]byte
}

// OpenAccessLog opens the log and starts its writer, which [AccessLog.Close] ends. It never
// waits: a named pipe that nobody reads is opened as soon as somebody does.
func OpenAccessLog(cfg AccessLogConfig) (*AccessLog, error) {
	if cfg.Rate < 0 || cfg.Rate > 1 {
		return nil, fmt.Errorf("the access log's rate %v is not between 0 and 1", cfg.Rate)
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	l := &AccessLog{cfg: cfg, out: cfg.Output, turn: 1, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	if err := l.Reopen(); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

// wants says whether this request gets a line.
func (l *AccessLog) wants() bool {
	return l.cfg.Rate >= 1 || rand.Float64() < l.cfg.Rate // a sample is no secret
}

// write takes a line.
func (l *AccessLog) write(index int, line []byte) {
	lane := &l.lanes[index]
	lane.mu.Lock()
	full := len(lane.buf) > logBound
	if !full {
		lane.buf = append(lane.buf, line...)
	}
	due := len(lane.buf) > logFull
	lane.mu.Unlock()
	if full {
		l.slow.Add(1)
	}
	if due {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// appendLog appends the request's line: what it was, where it went, how it ended and how
// long it took. No header values and no query: these may hold what nobody should read.
func (x *exchange) appendLog(dst []byte, code, fault routing.Fault, took time.Duration) []byte {
	dst = append(dst, `{"time":"`...)
	dst = x.started.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	dst = append(dst, `","requestId":`...)
	dst = appendJSONString(dst, string(x.who.requestID))
	dst = append(dst, `,"client":"`...)
	if client := x.who.client; client.IsValid() {
		dst = client.AppendTo(dst)
	} else {
		dst = x.client.peer.AppendTo(dst)
	}
	dst = append(dst, '"')
	dst = appendLogText(dst, "method", string(x.line.Method))
	dst = appendLogText(dst, "host", string(x.head.Authority.Host))
	dst = appendLogText(dst, "path", string(x.head.Request.Path))
	dst = appendLogText(dst, "tenant", x.decision.Tenant)
	dst = appendLogText(dst, "rule", x.decision.Rule)
	if x.decision.Deck != nil {
		dst = appendLogText(dst, "deck", x.decision.Deck.Name)
	}
	if x.endpoint != nil {
		dst = appendLogText(dst, "address", x.endpoint.text)
	}
	if x.decision.Epoch > 0 {
		dst = strconv.AppendUint(append(dst, `,"epoch":`...), x.decision.Epoch, 10)
	}
	if x.now != nil {
		dst = strconv.AppendInt(append(dst, `,"revision":`...), x.now.table.Revision(), 10)
	}
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(x.status), 10)
	if fault != noFault {
		dst = appendLogText(dst, "fault", string(code))
		dst = appendLogText(dst, "reason", x.reason)
	}
	dst = strconv.AppendInt(append(dst, `,"bytesIn":`...), x.upload.bytes.Load(), 10)
	dst = strconv.AppendInt(append(dst, `,"bytesOut":`...), x.sent, 10)
	dst = strconv.AppendInt(append(dst, `,"micros":`...), took.Microseconds(), 10)
	if !x.asked.IsZero() && !x.answered.IsZero() {
		dst = strconv.AppendInt(append(dst, `,"deckMicros":`...), x.answered.Sub(x.asked).Microseconds(), 10)
	}
	return append(dst, "}\n"...)
}

// appendLogText appends a member with a text, unless that is empty.
func appendLogText(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return appendJSONString(dst, text)
}

// appendJSONString appends a JSON string. What is no valid UTF-8 becomes U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
