package wire

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Socket is one TCP connection, with TLS on it or not. Its waits are bounded from outside:
// whoever reads or writes says until when, which is no more than a store, and the watch of
// the router wakes those whose time is over (router/watch.go). One goroutine at a time reads, and
// one at a time writes.
type Socket struct {
	net.Conn // what is read and written: tcp, or TLS on it
	TCP      *net.TCPConn
	Raw      syscall.RawConn
	Secure   bool

	// ReadBy and WriteBy say until when somebody waits: a moment of the router's clock, or one
	// of the constants below.
	ReadBy, WriteBy atomic.Int64

	taken  taking
	take   func(fd uintptr) bool
	filled filling
	fill   func(fd uintptr) bool
	poured pouring
	pour   func(fd uintptr) bool
	looked looking
	look   func(fd uintptr)
	ended  Endings
	ask    func(fd uintptr)
}

// What stands in ReadBy and WriteBy in place of a moment.
const (
	NoWait  int64 = 0  // nobody waits
	Expired int64 = -1 // the time of who waited is over; the connection is of no more use
	Forever int64 = math.MaxInt64
)

// ErrOverdue says that the time of a wait is over.
var ErrOverdue = errors.New("the time is over")

// taking is a receive under way.
type taking struct {
	pool  *Buffers
	limit int
	into  *Buffer
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

// Open makes a socket of a TCP connection. Who puts TLS on it sets Conn and Secure.
func (s *Socket) Open(tcp *net.TCPConn) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	s.Conn, s.TCP, s.Raw = tcp, tcp, raw
	s.take, s.fill, s.pour, s.look, s.ask = s.takeNow, s.fillNow, s.pourNow, s.lookNow, s.askNow
	return nil
}

// ReadUntil reads into p and waits until by. A socket whose time was over stays over. It gives
// either bytes or an error, never both: whoever looks at the error first loses no bytes.
func (s *Socket) ReadUntil(p []byte, by int64) (int, error) {
	if s.Secure {
		s.ReadBy.Store(by)
		n, err := s.Conn.Read(p)
		switch {
		case s.ReadBy.Swap(NoWait) == Expired:
			return 0, ErrOverdue
		case n > 0: // crypto/tls gives the end together with the last bytes
			return n, nil // an error comes again
		}
		return 0, err
	}
	s.filled = filling{p: p}
	n, _, err := s.fillBy(by)
	return n, err
}

// Converse writes ask, all of it, and reads into p what comes next. It saves the look for
// an answer that cannot be there yet, which reading after writing would begin with.
func (s *Socket) Converse(ask, p []byte, by int64) (int, error) {
	if !s.Secure {
		s.filled = filling{ask: ask, p: p}
		n, undone, err := s.fillBy(by)
		if !undone {
			return n, err
		}
		ask = ask[n:]
	}
	if _, err := s.WriteUntil(ask, by); err != nil {
		return 0, err
	}
	return s.ReadUntil(p, by)
}

func (s *Socket) fillBy(by int64) (n int, undone bool, err error) {
	s.ReadBy.Store(by)
	err = s.Raw.Read(s.fill)
	over := s.ReadBy.Swap(NoWait) == Expired
	n, undone = s.filled.n, s.filled.undone
	if err == nil {
		err = s.filled.err
	}
	s.filled = filling{}
	switch {
	case over:
		return 0, false, ErrOverdue
	case err == nil && n == 0 && !undone:
		err = io.EOF
	}
	return n, undone, err
}

// fillNow reads what is there, or writes what is to be asked. It says whether to wait no
// longer. That something comes after its first call is never missed: the system tells of
// it, and the wait begins before the call (see package internal/poll).
func (s *Socket) fillNow(fd uintptr) bool {
	f := &s.filled
	if len(f.ask) > 0 {
		n, err := RawWrite(fd, f.ask)
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
	n, err := RawRead(fd, f.p)
	switch {
	case err == syscall.EAGAIN:
		return false
	case err != 0:
		f.err = os.NewSyscallError("read", err)
	}
	f.n = n
	return true
}

// Receive waits until by without holding a buffer, and reads up to limit bytes into one of
// the pool's, which is the caller's to put back. Like ReadUntil it gives bytes or an error. A
// connection that is silent costs no buffer in this way. (With TLS one is held: only its own layer
// can wait.)
func (s *Socket) Receive(pool *Buffers, limit int, by int64) (*Buffer, int, error) {
	if s.Secure {
		b := pool.get()
		n, err := s.ReadUntil(b.UpTo(limit), by)
		if n == 0 {
			pool.Put(b)
			b = nil
		}
		return b, n, err
	}
	s.taken = taking{pool: pool, limit: limit}
	s.ReadBy.Store(by)
	err := s.Raw.Read(s.take)
	over := s.ReadBy.Swap(NoWait) == Expired
	b, n := s.taken.into, s.taken.n
	if err == nil {
		err = s.taken.err
	}
	s.taken = taking{}
	switch {
	case over:
		err = ErrOverdue
	case err == nil && n == 0:
		err = io.EOF
	}
	if b != nil && err != nil {
		pool.Put(b)
		return nil, 0, err
	}
	return b, n, err
}

// takeNow reads what is there. It says whether there was anything, or an end.
func (s *Socket) takeNow(fd uintptr) bool {
	t := &s.taken
	b := t.pool.get()
	n, err := RawRead(fd, b.UpTo(t.limit))
	switch {
	case err == syscall.EAGAIN:
		t.pool.Put(b)
		return false
	case err != 0:
		t.err = os.NewSyscallError("read", err)
	}
	t.into, t.n = b, n
	return true
}

// WriteUntil writes all of p, and waits until by.
func (s *Socket) WriteUntil(p []byte, by int64) (int, error) {
	s.WriteBy.Store(by)
	var n int
	var err error
	if s.Secure {
		n, err = s.Conn.Write(p)
	} else {
		s.poured = pouring{p: p}
		err = s.Raw.Write(s.pour)
		if n = s.poured.n; err == nil {
			err = s.poured.err
		}
		s.poured = pouring{}
	}
	if s.WriteBy.Swap(NoWait) == Expired {
		return n, ErrOverdue
	}
	return n, err
}

// pourNow writes what can be written. It says whether to wait no longer.
func (s *Socket) pourNow(fd uintptr) bool {
	w := &s.poured
	for w.n < len(w.p) {
		n, err := RawWrite(fd, w.p[w.n:])
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

// Expire wakes who waits for longer than until now.
func (s *Socket) Expire(now int64) {
	if by := s.ReadBy.Load(); by > 0 && now >= by && s.ReadBy.CompareAndSwap(by, Expired) {
		_ = s.TCP.SetReadDeadline(LongAgo) // a closed connection needs no waking
	}
	if by := s.WriteBy.Load(); by > 0 && now >= by && s.WriteBy.CompareAndSwap(by, Expired) {
		_ = s.TCP.SetWriteDeadline(LongAgo) // the same
	}
}

// WakeReader ends the wait of who reads, and all reading from now on.
func (s *Socket) WakeReader() { _ = s.TCP.SetReadDeadline(LongAgo) } // a closed connection needs no waking

// WakeWriter ends the wait of who writes, and all writing from now on.
func (s *Socket) WakeWriter() { _ = s.TCP.SetWriteDeadline(LongAgo) } // a closed connection needs no waking

// LetWrite takes a WakeWriter back that came when nobody waited any more.
func (s *Socket) LetWrite() error { return s.TCP.SetWriteDeadline(time.Time{}) }

// LongAgo as a deadline wakes whoever reads or writes.
var LongAgo = time.Unix(1, 0)
