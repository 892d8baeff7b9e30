package http1

// Framing is how the end of a body is told (RFC 9112 6).
type Framing uint8

// The framings.
const (
	FramedNot      Framing = iota // there is no body
	FramedByLength                // by Content-Length
	FramedByChunks                // by chunks
	FramedByClose                 // by the end of the connection; of answers only
)

// Body takes the framing off a body as it comes, and knows where it ends. Make one with
// [NewBody].
type Body struct {
	framing Framing
	ended   bool
	left    int64 // of a body framed by its length
	chunks  Chunks
}

// NewBody returns a body at its start. length counts only where the framing is by length.
func NewBody(framing Framing, length int64) Body {
	return Body{framing: framing, left: length, ended: framing == FramedNot || framing == FramedByLength && length == 0}
}

// Take takes the framing off what was received, in place. It returns how many bytes of the body
// there are, and how many bytes belong to the message. The error is [ErrChunk].
func (b *Body) Take(received []byte) (data, used int, err error) {
	switch b.framing {
	case FramedByLength:
		data = int(min(b.left, int64(len(received))))
		b.left -= int64(data)
		b.ended = b.left == 0
		return data, data, nil
	case FramedByChunks:
		data, used, err = b.chunks.Decode(received)
		b.ended = b.chunks.Ended()
		return data, used, err
	case FramedByClose:
		return len(received), len(received), nil
	case FramedNot:
	}
	return 0, 0, nil
}

// Ended says whether the body is whole. One that is framed by the end of its connection never says
// so of itself: see [Body.End].
func (b *Body) Ended() bool { return b.ended }

// End ends a body with its connection. It says whether that makes it whole.
func (b *Body) End() (whole bool) {
	if b.framing == FramedByClose {
		b.ended = true
	}
	return b.ended
}

// Framing says how the body's end is told.
func (b *Body) Framing() Framing { return b.framing }

// Missing is how many bytes of a body that is framed by its length are still to come.
func (b *Body) Missing() int64 { return b.left }

// AtMost is how many bytes may be received without reading into the next message, as far as that
// is known, but no more than most.
func (b *Body) AtMost(most int) int {
	if b.framing == FramedByLength {
		return int(min(b.left, int64(most)))
	}
	return most
}
