package router

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is one TCP connection, with TLS on it or not. Its waits are bounded from outside:
// whoever reads or writes says until when, which is no more than a store, and the watch of
// the router wakes those whose time is over (watch.go). One goroutine at a time reads, and
// one at a time writes.
type socket struct {
	net.Conn // what is read and written: tcp, or TLS on it
	tcp      *net.TCPConn
	raw      syscall.RawConn
	secure   bool

	// readBy and writeBy say until when somebody waits: a moment of the router's clock, or one
	// of the constants below.
	readBy, writeBy atomic.Int64

	taken  taking
	take   func(fd uintptr) bool
	filled filling
	fill   func(fd uintptr) bool
	poured pouring
	pour   func(fd uintptr) bool
	looked looking
	look   func(fd uintptr)
	ended  endings
	ask    func(fd uintptr)
}

// What stands in readBy and writeBy in place of a moment.
const (
	noWait  int64 = 0  // nobody waits
	expired int64 = -1 // the time of who waited is over; the connection is of no more use
	forever int64 = math.MaxInt64
)

// errOverdue says that the time of a wait is over.
var errOverdue = errors.New("the time is over")

// taking is a receive under way.
type taking struct {
	pool  *buffers
	limit int
	into  *buffer
	n     int
	err   error
}

// filling is a read into a given place under way. ask, if not empty, is written first.
type filling struct {
	ask    []byte
	p      []byte
	n      int
	err    error
	undone bool // ask could not be written at once, and nothing was read
}

// pouring is a write under way.
type pouring struct {
	p   []byte
	n   int
	err error
}

// looking is what a look at a socket found.
type looking struct {
	n   int
	err syscall.Errno
}

// open makes a socket of a TCP connection.
func (s *socket) open(tcp *net.TCPConn) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	s.Conn, s.tcp, s.raw = tcp, tcp, raw
	s.take, s.fill, s.pour, s.look, s.ask = s.takeNow, s.fillNow, s.pourNow, s.lookNow, s.askNow
	return nil
}

// read reads into p and waits until by. A socket whose time was over stays over. It gives
// either bytes or an error, never both: whoever looks at the error first loses no bytes.
func (s *socket) read(p []byte, by int64) (int, error) {
	if s.secure {
		s.readBy.Store(by)
		n, err := s.Conn.Read(p)
		switch {
		case s.readBy.Swap(noWait) == expired:
			return 0, errOverdue
		case n > 0: // crypto/tls gives the end together with the last bytes
			return n, nil // an error comes again
		}
		return 0, err
	}
	s.filled = filling{p: p}
	n, _, err := s.fillBy(by)
	return n, err
}

// converse writes ask, all of it, and reads into p what comes next. It saves the look for
// an answer that cannot be there yet, which reading after writing would begin with.
func (s *socket) converse(ask, p []byte, by int64) (int, error) {
	if !s.secure {
		s.filled = filling{ask: ask, p: p}
		n, undone, err := s.fillBy(by)
		if !undone {
			return n, err
		}
		ask = ask[n:]
	}
	if _, err := s.write(ask, by); err != nil {
		return 0, err
	}
	return s.read(p, by)
}

func (s *socket) fillBy(by int64) (n int, undone bool, err error) {
	s.readBy.Store(by)
	err = s.raw.Read(s.fill)
	over := s.readBy.Swap(noWait) == expired
	n, undone = s.filled.n, s.filled.undone
	if err == nil {
		err = s.filled.err
	}
	s.filled = filling{}
	switch {
	case over:
		return 0, false, errOverdue
	case err == nil && n == 0 && !undone:
		err = io.EOF
	}
	return n, undone, err
}

// fillNow reads what is there, or writes what is to be asked. It says whether to wait no
// longer. That something comes after its first call is never missed: the system tells of
// it, and the wait begins before the call (see package internal/poll).
func (s *socket) fillNow(fd uintptr) bool {
	f := &s.filled
	if len(f.ask) > 0 {
		n, err := rawWrite(fd, f.ask)
		switch {
		case n == len(f.ask):
			f.ask = nil
			return false
		case err != 0 && err != syscall.EAGAIN:
			f.err = os.NewSyscallError("write", err)
			return true
		}
		f.n, f.undone = n, true
		return true
	}
	n, err := rawRead(fd, f.p)
	switch {
	case err == syscall.EAGAIN:
		return false
	case err != 0:
		f.err = os.NewSyscallError("read", err)
	}
	f.n = n
	return true
}

// receive waits until by without holding a buffer, and reads up to limit bytes into one of
// the pool's, which is the caller's to put back. Like read it gives bytes or an error. A connection that is silent costs no
// buffer in this way. (With TLS one is held: only its own layer can wait.)
func (s *socket) receive(pool *buffers, limit int, by int64) (*buffer, int, error) {
	if s.secure {
		b := pool.get()
		n, err := s.read(b.upTo(limit), by)
		if n == 0 {
			pool.put(b)
			b = nil
		}
		return b, n, err
	}
	s.taken = taking{pool: pool, limit: limit}
	s.readBy.Store(by)
	err := s.raw.Read(s.take)
	over := s.readBy.Swap(noWait) == expired
	b, n := s.taken.into, s.taken.n
	if err == nil {
		err = s.taken.err
	}
	s.taken = taking{}
	switch {
	case over:
		err = errOverdue
	case err == nil && n == 0:
		err = io.EOF
	}
	if b != nil && err != nil {
		pool.put(b)
		return nil, 0, err
	}
	return b, n, err
}

// takeNow reads what is there. It says whether there was anything, or an end.
func (s *socket) takeNow(fd uintptr) bool {
	t := &s.taken
	b := t.pool.get()
	n, err := rawRead(fd, b.upTo(t.limit))
	switch {
	case err == syscall.EAGAIN:
		t.pool.put(b)
		return false
	case err != 0:
		t.err = os.NewSyscallError("read", err)
	}
	t.into, t.n = b, n
	return true
}

// write writes all of p, and waits until by.
func (s *socket) write(p []byte, by int64) (int, error) {
	s.writeBy.Store(by)
	var n int
	var err error
	if s.secure {
		n, err = s.Conn.Write(p)
	} else {
		s.poured = pouring{p: p}
		err = s.raw.Write(s.pour)
		if n = s.poured.n; err == nil {
			err = s.poured.err
		}
		s.poured = pouring{}
	}
	if s.writeBy.Swap(noWait) == expired {
		return n, errOverdue
	}
	return n, err
}

// pourNow writes what can be written. It says whether to wait no longer.
func (s *socket) pourNow(fd uintptr) bool {
	w := &s.poured
	for w.n < len(w.p) {
		n, err := rawWrite(fd, w.p[w.n:])
		switch {
		case err == syscall.EAGAIN:
			return false
		case err != 0:
			w.err = os.NewSyscallError("write", err)
			return true
		}
		w.n += n
	}
	return true
}

// expire wakes who waits for longer than until now.
func (s *socket) expire(now int64) {
	if by := s.readBy.Load(); by > 0 && now >= by && s.readBy.CompareAndSwap(by, expired) {
		_ = s.tcp.SetReadDeadline(longAgo) // a closed connection needs no waking
	}
	if by := s.writeBy.Load(); by > 0 && now >= by && s.writeBy.CompareAndSwap(by, expired) {
		_ = s.tcp.SetWriteDeadline(longAgo) // the same
	}
}

// wakeReader ends the wait of who reads, and all reading from now on.
func (s *socket) wakeReader() { _ = s.tcp.SetReadDeadline(longAgo) } // a closed connection needs no waking

// wakeWriter ends the wait of who writes, and all writing from now on.
func (s *socket) wakeWriter() { _ = s.tcp.SetWriteDeadline(longAgo) } // a closed connection needs no waking

// longAgo as a deadline wakes whoever reads or writes.
var longAgo = time.Unix(1, 0)

// silence is what a socket from which nothing is awaited is found doing.
type silence uint8

const (
	quiet  silence = iota // nothing has come
	shut                  // the other side closed it, or it broke
	speaks                // something has come
)

// lookAt finds out what the other side is doing, without waiting or taking anything. It may
// run while another goroutine reads, but only once at a time.
func (s *socket) lookAt() silence {
	if err := s.raw.Control(s.look); err != nil {
		return shut
	}
	switch {
	case s.looked.err == 0 && s.looked.n > 0:
		return speaks
	case s.looked.err == syscall.EAGAIN:
		return quiet
	}
	return shut
}

func (s *socket) lookNow(fd uintptr) {
	var one [1]byte
	n, err := rawPeek(fd, one[:])
	s.looked = looking{n, err}
}

// endings says which directions of a connection have ended.
type endings uint8

const (
	open         endings = iota
	halfClosed           // the other side sends no more, and may still receive
	endedForGood         // the connection broke
)

// endedBy finds out what the other side has ended, whatever it sent before that is not read
// yet. Like lookAt it may run while another goroutine reads, but only once at a time.
func (s *socket) endedBy() endings {
	if err := s.raw.Control(s.ask); err != nil {
		return endedForGood
	}
	return s.ended
}

func (s *socket) askNow(fd uintptr) {
	switch events := rawPoll(fd); {
	case events&(pollError|pollHangUp) != 0:
		s.ended = endedForGood
	case events&pollPeerShut != 0:
		s.ended = halfClosed
	default:
		s.ended = open
	}
}

const (
	headBytes   = 4 << 10  // what the head of a request is first read into
	recordBytes = 16 << 10 // a record of TLS
	bodyBytes   = 64 << 10 // what bodies flow through
	bufferFront = 16       // room for the line that begins a chunk
	bufferBack  = 16       // room for what ends a chunk, and the body
)

// buffer holds bytes on their way, with room for the framing around them.
type buffer struct {
	b []byte
}

func (b *buffer) data() []byte { return b.b[bufferFront : len(b.b)-bufferBack] }

// upTo is data, but no more of it than limit bytes.
func (b *buffer) upTo(limit int) []byte {
	data := b.data()
	return data[:min(limit, len(data))]
}

func newBuffer(size int) *buffer { return &buffer{make([]byte, bufferFront+size+bufferBack)} }

// buffers is a pool of buffers of one size.
type buffers struct {
	pool sync.Pool
	size int
}

func (p *buffers) init(size int) {
	p.size = size
	p.pool.New = func() any { return newBuffer(size) }
}

func (p *buffers) get() *buffer {
	b, _ := p.pool.Get().(*buffer)
	return b
}

// put takes a buffer back. One of another size is left to the garbage collector.
func (p *buffers) put(b *buffer) {
	if len(b.data()) == p.size {
		p.pool.Put(b)
	}
}
