package http1

import (
	"errors"
)

// Limits of the framing of a chunked body.
const (
	maxSizeDigits   = 15      // far more than anybody sends, and no overflow
	maxChunkLine    = 1 << 10 // a size and its extensions
	maxTrailerBytes = 8 << 10 // all trailer fields
	// maxExcess bounds by how much the lines before chunks may outweigh their data in one body,
	// so that nobody is kept busy with next to nothing. Each chunk has freeLine bytes, and two
	// more for each byte of data, for nothing.
	maxExcess = 16 << 10
	freeLine  = 16
)

// ErrChunk says that the chunks of a body are malformed.
var ErrChunk = errors.New("the chunks of the body are malformed")

// Chunks takes the framing off a chunked body, strictly (RFC 9112 7.1): lines end in CR LF,
// sizes are plain hexadecimal of at most 15 digits, extensions follow their grammar, with the
// blanks that it allows (7.1.1, extensions.go), and trailer fields have a name that is a token.
// Extensions and trailer fields are passed over; a line may have 1 KiB of extensions, and all
// lines of a body may outweigh its data by 16 KiB. The zero value is at the start of a body.
type Chunks struct {
	state  chunkState
	left   int64 // of the chunk's data
	digits int
	size   int64
	line   int // bytes of the line so far
	total  int // bytes of the trailer section so far
	excess int // bytes by which lines outweigh data so far
}

type chunkState uint8

const (
	chunkSize   chunkState = iota // digits of a size
	chunkSizeLF                   // LF of a size line
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart // first byte of a trailer line, or of the end
	trailerName
	trailerLine
	trailerLF
	trailerEndLF
	chunksEnd
	// Within extensions: see extensions.go.
	extBlank      // behind a size or a value, in blanks before ";"
	extBegin      // behind ";", before a name
	extName       // in a name
	extNameBlank  // behind a name, in blanks
	extEquals     // behind "=", before a value
	extValue      // in a value that is a token
	extQuoted     // in a quoted string
	extEscape     // behind a backslash there
	extQuotedOver // behind a quoted string
)

// Decode moves the data in p to its front. It returns how many bytes of data there are,
// and how many bytes of p belong to the body; fewer than len(p) only at the body's end.
func (d *Chunks) Decode(p []byte) (data, used int, err error) {
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
			return data, used, ErrChunk
		}
	}
	return data, used, nil
}

// step reads one byte of framing. It says whether the byte may stand there.
func (d *Chunks) step(b byte) bool {
	switch d.state {
	case chunkSize:
		return d.sizeDigit(b)
	case chunkSizeLF:
		return b == '\n' && d.beginData()
	case chunkDataCR:
		d.state = chunkDataLF
		return b == '\r'
	case chunkDataLF:
		*d = Chunks{excess: d.excess}
		return b == '\n'
	case trailerStart:
		if b == '\r' {
			d.state = trailerEndLF
			return true
		}
		d.state = trailerName
		return d.nameByte(b)
	case trailerName:
		if b == ':' {
			d.state = trailerLine
			return d.trailerByte(b)
		}
		return d.nameByte(b)
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
	case extBlank, extBegin, extName, extNameBlank, extEquals, extValue, extQuoted, extEscape, extQuotedOver:
		d.line++
		return d.line <= maxChunkLine && d.extension(b)
	}
	return false
}

func (d *Chunks) sizeDigit(b byte) bool {
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
		d.line++
		return d.behind(b)
	default:
		return false
	}
	d.digits++
	d.size = d.size<<4 | int64(digit)
	return d.digits <= maxSizeDigits
}

// beginData ends a line before a chunk. It says whether lines do not outweigh data too much.
func (d *Chunks) beginData() bool {
	if d.excess += d.digits + d.line - freeLine; d.excess > 0 {
		d.excess -= int(min(2*d.size, int64(d.excess)))
	}
	if d.excess = max(0, d.excess); d.excess > maxExcess {
		return false
	}
	d.left, d.state = d.size, chunkData
	if d.size == 0 {
		d.state = trailerStart
	}
	return true
}

// nameByte takes a byte of a field name, which is a token (RFC 9110 5.6.2).
func (d *Chunks) nameByte(b byte) bool {
	return d.trailerByte(b) && isToken(b)
}

func (d *Chunks) trailerByte(b byte) bool {
	d.total++
	return d.total <= maxTrailerBytes && isText(b)
}

// Ended says that the body is over.
func (d *Chunks) Ended() bool { return d.state == chunksEnd }
