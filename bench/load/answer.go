package load

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"time"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum returns the checksum by which bodies are compared: CRC-32C (RFC 3720 12.1). It finds
// what was mixed up, cut or repeated, at a cost that does not show beside the sending.
func Sum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// Body returns n bytes of the pattern that request bodies consist of: no two stretches of
// eight bytes within the first gigabyte are alike.
func Body(n int) []byte {
	body := make([]byte, 0, n+16)
	for i := 0; len(body) < n; i++ {
		body = fmt.Appendf(body, "%07x\n", i)
	}
	return body[:n]
}

// wrongError is an answer that came, and is not right.
type wrongError struct{ what, text string }

func (e *wrongError) Error() string { return e.text }

func wrong(what, format string, args ...any) error {
	return &wrongError{"wrong " + what, fmt.Sprintf(format, args...)}
}

// answerReader reads answers from a connection, one after the other. One goroutine.
type answerReader struct {
	from       io.Reader
	buf        []byte
	start, end int // what is read and not taken
	rate       int64

	// Of the answer that was read last.
	status         int
	length         int64 // declared; -1: none
	chunked, close bool
	header         []byte // with the name that is looked for
	received       []byte
	bytes          int64
	sum            uint32
}

const maxHead = 64 << 10

// fill reads more. It moves what is there to the front if there is no room behind it.
func (a *answerReader) fill() error {
	if a.start == a.end {
		a.start, a.end = 0, 0
	} else if a.end == len(a.buf) {
		copy(a.buf, a.buf[a.start:a.end])
		a.end -= a.start
		a.start = 0
	}
	if a.end == len(a.buf) {
		return wrong("head", "more than %d bytes without the end of a head or a chunk's line", len(a.buf))
	}
	room := a.buf[a.end:]
	if a.rate > 0 {
		room = room[:min(int64(len(room)), max(a.rate/20, 1))]
	}
	n, err := a.from.Read(room)
	a.end += n
	if n > 0 {
		if a.rate > 0 {
			time.Sleep(time.Duration(int64(n) * int64(time.Second) / a.rate))
		}
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// read reads one answer whole and checks it. Interim answers (RFC 9110 15.2) are passed over.
func (a *answerReader) read(e *Expect, method string, host int) error {
	for {
		if err := a.head(e); err != nil {
			return err
		}
		if a.status >= 200 || a.status == 101 {
			break
		}
	}
	if err := a.body(method); err != nil {
		return err
	}
	switch {
	case a.status != e.Status:
		return wrong("status", "status %d, want %d", a.status, e.Status)
	case e.Header != "" && len(e.Values) > 0 && string(a.header) != e.Values[host%len(e.Values)]:
		return wrong("header", "%s: %q, want %q", e.Header, a.header, e.Values[host%len(e.Values)])
	case e.Body && (a.bytes != e.BodyBytes || a.sum != e.BodySum):
		return wrong("body", "a body of %d bytes with the sum %08x, want %d bytes with %08x", a.bytes, a.sum, e.BodyBytes, e.BodySum)
	}
	return nil
}

// head reads an answer's head (RFC 9112 4) and takes from it what is needed.
func (a *answerReader) head(e *Expect) error {
	var text []byte
	for searched := a.start; ; {
		if i := bytes.Index(a.buf[searched:a.end], []byte("\r\n\r\n")); i >= 0 {
			text = a.buf[a.start : searched+i+2]
			a.start = searched + i + 4
			break
		}
		before := a.start
		searched = max(a.start, a.end-3)
		if err := a.fill(); err != nil {
			if errors.Is(err, io.EOF) && a.start != a.end {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		searched -= before - a.start
	}
	line, rest, _ := bytes.Cut(text, []byte("\r\n"))
	if bytes.IndexByte(line, '\n') >= 0 || len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' {
		return wrong("head", "no status line: %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || status > 599 {
		return wrong("head", "no status in %q", line)
	}
	a.status, a.length, a.chunked, a.close = status, -1, false, line[7] == '0'
	a.header, a.received = a.header[:0], a.received[:0]
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || bytes.IndexByte(line, '\n') >= 0 { // a line that ends in LF alone is none of HTTP/1.1
			return wrong("head", "no field line: %q", line)
		}
		if err := a.field(e, name, bytes.TrimSpace(value)); err != nil {
			return err
		}
	}
	if a.chunked && text[7] == '0' { // RFC 9112 6.1: its framing is faulty
		return wrong("head", "an answer of HTTP/1.0 in chunks")
	}
	return nil
}

func (a *answerReader) field(e *Expect, name, value []byte) error {
	switch {
	case same(name, "content-length"):
		length, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || length < 0 || a.length >= 0 && a.length != length {
			return wrong("head", "no one length: %q", value)
		}
		a.length = length
	case same(name, "transfer-encoding"):
		a.chunked = same(value, "chunked")
	case same(name, "connection"):
		a.close = a.close || same(value, "close")
	case e.Header != "" && same(name, e.Header):
		a.header = append(a.header, value...)
	case e.ReceivedHeader != "" && same(name, e.ReceivedHeader):
		a.received = append(a.received, value...)
	}
	return nil
}

// same compares a field name or value without regard to case.
func same(b []byte, s string) bool {
	return len(b) == len(s) && bytes.EqualFold(b, []byte(s))
}

// body reads an answer's body (RFC 9112 6.3).
func (a *answerReader) body(method string) error {
	a.bytes, a.sum = 0, 0
	switch {
	case method == "HEAD" || a.status < 200 || a.status == 204 || a.status == 304:
		return nil
	case a.chunked:
		return a.chunks()
	case a.length >= 0:
		return a.take(a.length)
	}
	a.close = true // it ends with the connection
	for {
		a.eat(a.end - a.start)
		if err := a.fill(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// eat takes n bytes that were read as part of the body.
func (a *answerReader) eat(n int) {
	a.sum = crc32.Update(a.sum, castagnoli, a.buf[a.start:a.start+n])
	a.bytes += int64(n)
	a.start += n
}

// take reads n bytes of the body.
func (a *answerReader) take(n int64) error {
	for {
		here := int(min(n, int64(a.end-a.start)))
		a.eat(here)
		if n -= int64(here); n == 0 {
			return nil
		}
		if err := a.more(); err != nil {
			return err
		}
	}
}

// more is fill where the answer must go on.
func (a *answerReader) more() error {
	err := a.fill()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// chunks reads a chunked body with its trailers (RFC 9112 7.1).
func (a *answerReader) chunks() error {
	for {
		line, err := a.line()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 62)
		if err != nil {
			return wrong("body", "no chunk size: %q", line)
		}
		if n == 0 {
			break
		}
		if err := a.take(int64(n)); err != nil {
			return err
		}
		if line, err = a.line(); err != nil {
			return err
		} else if len(line) > 0 {
			return wrong("body", "a chunk is longer than its size: %q", line)
		}
	}
	for {
		if line, err := a.line(); err != nil || len(line) == 0 {
			return err
		}
	}
}

// line takes a line without its end.
func (a *answerReader) line() ([]byte, error) {
	for {
		if i := bytes.Index(a.buf[a.start:a.end], []byte("\r\n")); i >= 0 {
			line := a.buf[a.start : a.start+i]
			a.start += i + 2
			return line, nil
		}
		if err := a.more(); err != nil {
			return nil, err
		}
	}
}
