package deck

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// net/http sorts header fields into a map: their order and spelling are lost. A deck
// that shows what it received needs both, so its connections note the heads as they
// pass by.

// maxHead bounds what is noted of one head; net/http refuses longer ones.
const maxHead = 1 << 21

type tapListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l tapListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tapConn{Conn: conn}, nil
}

// tapConn is a connection that notes the request heads it delivers.
type tapConn struct {
	net.Conn
	mu   sync.Mutex // net/http reads ahead in the background while a handler runs
	scan headScanner
}

// Read implements [net.Conn].
func (c *tapConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.scan.feed(p[:n])
	c.mu.Unlock()
	return n, err
}

// next takes the oldest head that nobody took; nil if there is none.
func (c *tapConn) next() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.scan.heads) == 0 {
		return nil
	}
	head := c.scan.heads[0]
	c.scan.heads = c.scan.heads[1:]
	return head
}

// receivedFields returns the request's field lines as they arrived; should the tap
// have lost its place, those that net/http knows, sorted.
func receivedFields(r *http.Request) []string {
	if conn, ok := r.Context().Value(tapKey{}).(*tapConn); ok {
		if head := conn.next(); len(head) > 0 {
			return head[1:]
		}
	}
	var fields []string
	for name, values := range r.Header {
		for _, value := range values {
			fields = append(fields, fmt.Sprintf("%s: %s", name, value))
		}
	}
	slices.Sort(fields)
	return fields
}

// place says what the next byte of a stream of requests belongs to.
type place int

const (
	inHead place = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	lost
)

// headScanner finds the request heads in a stream of HTTP/1.1 requests (RFC 9112). It
// judges nothing: net/http refuses what is wrong and closes the connection.
type headScanner struct {
	heads [][]string // complete heads: request line, field lines
	at    place
	skip  int64    // bytes left of the body or the chunk
	line  []byte   // the part of the current line that has arrived
	lines []string // the lines of the current head
	size  int      // bytes of the current head
}

// feed takes the next bytes of the stream.
func (s *headScanner) feed(p []byte) {
	for len(p) > 0 && s.at != lost {
		if s.at == inBody || s.at == inChunk {
			n := min(s.skip, int64(len(p)))
			s.skip -= n
			p = p[n:]
			if s.skip == 0 {
				s.endOfData()
			}
			continue
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			s.line = append(s.line, p...)
			if len(s.line) > maxHead {
				s.at = lost
			}
			return
		}
		s.line = append(s.line, p[:end]...)
		p = p[end+1:]
		line := strings.TrimSuffix(string(s.line), "\r")
		s.line = s.line[:0]
		s.endOfLine(line)
	}
}

func (s *headScanner) endOfData() {
	if s.at == inChunk {
		s.at = inChunkEnd
		return
	}
	s.at = inHead
}

func (s *headScanner) endOfLine(line string) {
	switch s.at {
	case inHead:
		s.size += len(line)
		switch {
		case line == "" && len(s.lines) > 0:
			s.endOfHead()
		case line != "":
			s.lines = append(s.lines, line)
		}
		if s.size > maxHead {
			s.at = lost
		}
	case inChunkSize:
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 63)
		switch {
		case err != nil || n < 0:
			s.at = lost
		case n == 0:
			s.at = inTrailer
		default:
			s.at, s.skip = inChunk, n
		}
	case inChunkEnd:
		s.at = inChunkSize
	case inTrailer:
		if line == "" {
			s.at = inHead
		}
	case inBody, inChunk, lost: // no lines there
	}
}

// endOfHead keeps the head and learns from it how long the body is.
func (s *headScanner) endOfHead() {
	s.heads = append(s.heads, s.lines)
	for _, line := range s.lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Transfer-Encoding") && !strings.HasSuffix(s.lines[0], " HTTP/1.0"):
			s.at = inChunkSize
		case strings.EqualFold(name, "Content-Length") && s.at == inHead:
			n, err := strconv.ParseInt(value, 10, 63)
			if err == nil && n > 0 {
				s.at, s.skip = inBody, n
			}
		}
	}
	s.lines, s.size = nil, 0
}
