package wire

import "syscall"

// Silence is what a socket from which nothing is awaited is found doing.
type Silence uint8

// What a look finds.
const (
	Quiet  Silence = iota // nothing has come
	Shut                  // the other side closed it, or it broke
	Speaks                // something has come
)

// LookAt finds out what the other side is doing, without waiting or taking anything. It may
// run while another goroutine reads, but only once at a time.
func (s *Socket) LookAt() Silence {
	if err := s.Raw.Control(s.look); err != nil {
		return Shut
	}
	switch {
	case s.looked.err == 0 && s.looked.n > 0:
		return Speaks
	case s.looked.err == syscall.EAGAIN:
		return Quiet
	}
	return Shut
}

func (s *Socket) lookNow(fd uintptr) {
	var one [1]byte
	n, err := RawPeek(fd, one[:])
	s.looked = looking{n, err}
}

// Endings says which directions of a connection have ended.
type Endings uint8

// Which directions have ended.
const (
	BothOpen     Endings = iota
	HalfClosed           // the other side sends no more, and may still receive
	EndedForGood         // the connection broke
)

// EndedBy finds out what the other side has ended, whatever it sent before that is not read
// yet. Like LookAt it may run while another goroutine reads, but only once at a time.
func (s *Socket) EndedBy() Endings {
	if err := s.Raw.Control(s.ask); err != nil {
		return EndedForGood
	}
	return s.ended
}

func (s *Socket) askNow(fd uintptr) {
	switch events := rawPoll(fd, pollPeerShut); {
	case events&(pollError|pollHangUp) != 0:
		s.ended = EndedForGood
	case events&pollPeerShut != 0:
		s.ended = HalfClosed
	default:
		s.ended = BothOpen
	}
}
