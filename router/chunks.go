package router

import "errors"

// Limits of the framing of a chunked body.
const (
	maxSizeDigits   = 15      // far more than anybody sends, and no overflow
	maxChunkLine    = 1 << 10 // a size and its extensions
	maxTrailerBytes = 8 << 10 // all trailer fields
)

var errBadChunk = errors.New("the answer's chunks are malformed")

// chunkDecoder takes the framing off a chunked body, strictly (RFC 9112 7.1): lines end
// in CR LF, sizes are plain hexadecimal. Extensions and trailer fields are passed over.
// The zero value is at the start of a body.
type chunkDecoder struct {
	state  chunkState
	left   int64 // of the chunk's data
	digits int
	size   int64
	line   int // bytes of the line so far
	total  int // bytes of the trailer section so far
}

type chunkState uint8

const (
	chunkSize      chunkState = iota // digits of a size
	chunkExtension                   // behind a size, up to CR
	chunkSizeLF                      // LF of a size line
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart // first byte of a trailer line, or of the end
	trailerLine
	trailerLF
	trailerEndLF
	chunksEnd
)

// decode moves the data in p to its front. It returns how many bytes of data there are,
// and how many bytes of p belong to the body; fewer than len(p) only at the body's end.
func (d *chunkDecoder) decode(p []byte) (data, used int, err error) {
	for used < len(p) && d.state != chunksEnd {
		if d.state == chunkData {
			n := int(min(d.left, int64(len(p)-used)))
			copy(p[data:], p[used:used+n])
			data, used, d.left = data+n, used+n, d.left-int64(n)
			if d.left == 0 {
				d.state = chunkDataCR
			}
			continue
		}
		b := p[used]
		used++
		if !d.step(b) {
			return data, used, errBadChunk
		}
	}
	return data, used, nil
}

// step reads one byte of framing. It says whether the byte may stand there.
func (d *chunkDecoder) step(b byte) bool {
	switch d.state {
	case chunkSize:
		return d.sizeDigit(b)
	case chunkExtension:
		if b == '\r' {
			d.state = chunkSizeLF
			return true
		}
		d.line++
		return d.line <= maxChunkLine && (b >= ' ' && b != 0x7f || b == '\t')
	case chunkSizeLF:
		return b == '\n' && d.beginData()
	case chunkDataCR:
		d.state = chunkDataLF
		return b == '\r'
	case chunkDataLF:
		*d = chunkDecoder{}
		return b == '\n'
	case trailerStart:
		if b == '\r' {
			d.state = trailerEndLF
			return true
		}
		d.state = trailerLine
		return d.trailerByte(b) && b != ' ' && b != '\t'
	case trailerLine:
		if b == '\r' {
			d.state = trailerLF
			return true
		}
		return d.trailerByte(b)
	case trailerLF:
		d.state = trailerStart
		return b == '\n'
	case trailerEndLF:
		d.state = chunksEnd
		return b == '\n'
	case chunkData, chunksEnd: // not stepped through
	}
	return false
}

func (d *chunkDecoder) sizeDigit(b byte) bool {
	var digit byte
	switch {
	case b >= '0' && b <= '9':
		digit = b - '0'
	case b|0x20 >= 'a' && b|0x20 <= 'f':
		digit = b | 0x20 - 'a' + 10
	case d.digits == 0:
		return false
	case b == '\r':
		d.state = chunkSizeLF
		return true
	case b == ';', b == ' ', b == '\t':
		d.state = chunkExtension
		return true
	default:
		return false
	}
	d.digits++
	d.size = d.size<<4 | int64(digit)
	return d.digits <= maxSizeDigits
}

func (d *chunkDecoder) beginData() bool {
	d.left, d.state = d.size, chunkData
	if d.size == 0 {
		d.state = trailerStart
	}
	return true
}

func (d *chunkDecoder) trailerByte(b byte) bool {
	d.total++
	return d.total <= maxTrailerBytes && (b >= ' ' && b != 0x7f || b == '\t')
}

// ended says that the body is over.
func (d *chunkDecoder) ended() bool { return d.state == chunksEnd }
