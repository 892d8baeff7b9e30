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

	// readBy and writeBy say until when somebody waits, in nanoseconds of Unix time, or one
	// of the constants below.
	readBy, writeBy atomic.Int64

	taken  taking
	take   func(fd uintptr) bool
	looked looking
	look   func(fd uintptr)
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

// looking is what a look at a socket found.
type looking struct {
	n   int
	err error
}

// open makes a socket of a TCP connection.
func (s *socket) open(tcp *net.TCPConn) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	s.Conn, s.tcp, s.raw = tcp, tcp, raw
	s.take, s.look = s.takeNow, s.lookNow
	return nil
}

// read reads into p and waits until by. A socket whose time was over stays over.
func (s *socket) read(p []byte, by int64) (int, error) {
	s.readBy.Store(by)
	n, err := s.Conn.Read(p)
	if s.readBy.Swap(noWait) == expired {
		return 0, errOverdue
	}
	return n, err
}

// receive waits until by without holding a buffer, and reads up to limit bytes into one of
// the pool's, which is the caller's to put back. A connection that is silent costs no
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
	for {
		n, err := syscall.Read(int(fd), b.upTo(t.limit))
		switch {
		case err == syscall.EINTR: //nolint:errorlint // the system's own number
			continue
		case err != nil && wouldBlock(err):
			t.pool.put(b)
			return false
		case err != nil:
			n, err = 0, os.NewSyscallError("read", err)
		}
		t.into, t.n, t.err = b, n, err
		return true
	}
}

// write writes all of p, and waits until by.
func (s *socket) write(p []byte, by int64) (int, error) {
	s.writeBy.Store(by)
	n, err := s.Conn.Write(p)
	if s.writeBy.Swap(noWait) == expired {
		return n, errOverdue
	}
	return n, err
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
	case s.looked.err == nil && s.looked.n > 0:
		return speaks
	case s.looked.err != nil && wouldBlock(s.looked.err):
		return quiet
	}
	return shut
}

func (s *socket) lookNow(fd uintptr) {
	var one [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR { //nolint:errorlint // the system's own number
			s.looked = looking{n, err}
			return
		}
	}
}

func wouldBlock(err error) bool {
	return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK //nolint:errorlint // the system's own number
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
