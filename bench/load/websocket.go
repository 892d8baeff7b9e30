package load

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the RFC's, and no secret
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
)

// AcceptKey returns what a server answers to a Sec-WebSocket-Key (RFC 6455 4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// upgrade makes the connection a WebSocket.
func (c *client) upgrade() error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	c.appendHead()
	c.out = append(c.out[:len(c.out)-2], "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+key+"\r\n\r\n"...)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	expect := Expect{Status: 101, Header: "Sec-WebSocket-Accept", Values: []string{AcceptKey(key)}}
	if err := c.answer.read(&expect, c.Method, 0); err != nil {
		return err
	}
	c.messages = &messages{conn: c.conn, in: &c.answer}
	_, _ = rand.Read(c.messages.mask[:]) // as above
	return nil
}

// messages exchanges WebSocket messages (RFC 6455 5).
type messages struct {
	conn net.Conn
	in   *answerReader
	mask [4]byte
	out  []byte
}

const (
	finBinary = 0x82
	opClose   = 0x8
	opPing    = 0x9
	opPong    = 0xa
)

// exchange sends one binary message and wants it back.
func (m *messages) exchange(message []byte) error {
	m.send(finBinary, message)
	if _, err := m.conn.Write(m.out); err != nil {
		return err
	}
	for {
		first, payload, err := m.receive()
		switch {
		case err != nil:
			return err
		case first&0xf == opPing:
			m.send(0x80|opPong, payload)
			if _, err := m.conn.Write(m.out); err != nil {
				return err
			}
		case first&0xf == opPong:
		case first&0xf == opClose:
			return io.ErrUnexpectedEOF
		case first != finBinary || !bytes.Equal(payload, message):
			return wrong("message", "a message of %d bytes came back as one of %d, or as another", len(message), len(payload))
		default:
			return nil
		}
	}
}

// send makes a masked frame in out.
func (m *messages) send(first byte, payload []byte) {
	m.out = append(m.out[:0], first)
	switch n := len(payload); {
	case n < 126:
		m.out = append(m.out, 0x80|byte(n))
	case n < 1<<16:
		m.out = binary.BigEndian.AppendUint16(append(m.out, 0x80|126), uint16(n))
	default:
		m.out = binary.BigEndian.AppendUint64(append(m.out, 0x80|127), uint64(n))
	}
	m.out = append(m.out, m.mask[:]...)
	at := len(m.out)
	m.out = append(m.out, payload...)
	for i := range payload {
		m.out[at+i] ^= m.mask[i&3]
	}
}

// receive reads one frame. The payload is good until the next one.
func (m *messages) receive() (first byte, payload []byte, err error) {
	head, err := m.need(2)
	if err != nil {
		return 0, nil, err
	}
	first, second := head[0], head[1]
	size := uint64(second & 0x7f)
	if second&0x80 != 0 {
		return 0, nil, wrong("message", "the server masks its frames")
	}
	m.in.start += 2
	if size >= 126 {
		bytes := 2
		if size == 127 {
			bytes = 8
		}
		if head, err = m.need(bytes); err != nil {
			return 0, nil, err
		}
		if size = uint64(binary.BigEndian.Uint16(head)); bytes == 8 {
			size = binary.BigEndian.Uint64(head)
		}
		m.in.start += bytes
	}
	if size > uint64(len(m.in.buf)) {
		return 0, nil, wrong("message", "a frame of %d bytes came", size)
	}
	if payload, err = m.need(int(size)); err != nil {
		return 0, nil, err
	}
	m.in.start += int(size)
	return first, payload, nil
}

// need waits until n bytes are there.
func (m *messages) need(n int) ([]byte, error) {
	for m.in.end-m.in.start < n {
		if m.in.start > 0 && len(m.in.buf)-m.in.start < n {
			copy(m.in.buf, m.in.buf[m.in.start:m.in.end])
			m.in.end -= m.in.start
			m.in.start = 0
		}
		if err := m.in.more(); err != nil {
			return nil, err
		}
	}
	return m.in.buf[m.in.start : m.in.start+n], nil
}
