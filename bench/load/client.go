package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// client is one of the connections that a run keeps open, and makes anew as need be. One
// goroutine.
type client struct {
	*Config
	hosts, keys chooser
	conn        net.Conn
	served      int // requests on this connection
	deadline    time.Time
	answer      answerReader
	out         []byte
	host        int
	body        []byte // the pattern, or the message
	sum         uint32
	messages    *messages // nil: HTTP
}

// piece is how many bytes of a body are written at once, and the size of chunks.
const piece = 16 << 10

func newClient(c *Config, number int, body []byte, sum uint32) *client {
	random := rand.New(rand.NewPCG(c.Seed, uint64(number)))
	size := maxHead
	if c.Expect.BodyBytes > maxHead {
		size = 256 << 10
	}
	cl := &client{Config: c, hosts: c.Hosts.chooser(random), keys: c.Keys.chooser(random), body: body, sum: sum}
	if c.Connections > 2000 { // mostly idle ones
		size = 4 << 10
	}
	cl.answer = answerReader{buf: make([]byte, size), rate: c.ReadRate}
	return cl
}

// do makes one request and checks its answer. A connection that may be closed since the last
// request is no fault: the request is made again on a new one, once.
func (c *client) do(ctx context.Context) error {
	if !c.HostPerConnection || c.conn == nil {
		c.host = c.hosts.next()
	}
	fresh := c.conn == nil
	err := c.attempt(ctx)
	if err != nil {
		again := !fresh && closedBetween(err) && c.messages == nil
		c.hangUp()
		if !again {
			return err
		}
		if err = c.attempt(ctx); err != nil {
			c.hangUp()
			return err
		}
	}
	if c.answer.close && c.messages == nil || c.PerConnection > 0 && c.served >= c.PerConnection {
		c.hangUp()
	}
	return nil
}

// closedBetween says whether the server closed a connection before it took a request.
func closedBetween(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c *client) attempt(ctx context.Context) error {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return err
		}
	}
	if now := time.Now(); c.deadline.Sub(now) < c.Timeout {
		if err := c.extend(now); err != nil {
			return err
		}
	}
	c.served++
	if c.messages != nil {
		return c.messages.exchange(c.body)
	}
	return c.exchange()
}

// extend moves the connection's deadline. That costs: once a second will do.
func (c *client) extend(now time.Time) error {
	c.deadline = now.Add(c.Timeout + time.Second)
	return c.conn.SetDeadline(c.deadline)
}

func (c *client) dial(ctx context.Context) error {
	dialer := net.Dialer{Timeout: c.Timeout, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return err
	}
	c.conn, c.served = conn, 0
	if err := c.extend(time.Now()); err != nil {
		return err
	}
	if c.TLS != nil {
		config := c.TLS
		if config.ServerName == "" {
			config = config.Clone()
			config.ServerName = hostName(string(c.Hosts.Append(nil, c.host)))
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		c.conn = secure
	}
	c.answer.from, c.answer.start, c.answer.end = c.conn, 0, 0
	if c.MessageBytes > 0 {
		return c.upgrade()
	}
	return nil
}

// hostName is a host without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// hangUp closes the connection, if there is one.
func (c *client) hangUp() {
	if c.conn == nil {
		return
	}
	_ = c.conn.Close() // nothing is left to be said on it
	c.conn, c.messages = nil, nil
}

// exchange sends a request and reads its answer.
func (c *client) exchange() error {
	c.appendHead()
	if c.BodyBytes > 0 && c.BodyBytes <= piece && !c.Chunked && c.WriteRate == 0 {
		c.out = append(c.out, c.body[:c.BodyBytes]...)
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	if c.BodyBytes > 0 && (c.BodyBytes > piece || c.Chunked || c.WriteRate > 0) {
		if err := c.sendBody(); err != nil {
			return err
		}
	}
	if err := c.answer.read(&c.Expect, c.Method, c.host); err != nil {
		return err
	}
	if c.Expect.ReceivedHeader != "" {
		if want := Received(c.BodyBytes, c.sum); string(c.answer.received) != want {
			return wrong("receipt", "the server received %q, sent was %s", c.answer.received, want)
		}
	}
	return nil
}

// Received is what a server tells of a body of that size and [Sum]: see [Expect].
func Received(size int64, sum uint32) string { return fmt.Sprintf("%d-%08x", size, sum) }

func (c *client) appendHead() {
	out := c.out[:0]
	out = append(out, c.Method...)
	out = append(append(append(out, ' '), c.Path...), " HTTP/1.1\r\nHost: "...)
	out = append(c.Hosts.Append(out, c.host), "\r\n"...)
	if c.KeyHeader != "" {
		out = append(append(out, c.KeyHeader...), ": "...)
		out = append(c.Keys.Append(out, c.keys.next()), "\r\n"...)
	}
	for _, line := range c.Headers {
		out = append(append(out, line...), "\r\n"...)
	}
	switch {
	case c.BodyBytes > 0 && c.Chunked:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	case c.BodyBytes > 0:
		out = append(strconv.AppendInt(append(out, "Content-Length: "...), c.BodyBytes, 10), "\r\n"...)
	}
	if c.PerConnection > 0 && c.served >= c.PerConnection && c.MessageBytes == 0 {
		out = append(out, "Connection: close\r\n"...)
	}
	out = append(out, "\r\n"...)
	c.out = out
}

// sendBody sends the pattern, over and over, up to the body's size.
func (c *client) sendBody() error {
	for sent := int64(0); sent < c.BodyBytes; {
		at := int(sent % int64(len(c.body)))
		part := c.body[at:min(len(c.body), at+piece)]
		part = part[:min(int64(len(part)), c.BodyBytes-sent)]
		if c.WriteRate > 0 {
			part = part[:min(int64(len(part)), max(c.WriteRate/20, 1))]
		}
		c.out = c.out[:0]
		if c.Chunked {
			c.out = strconv.AppendInt(c.out, int64(len(part)), 16)
			c.out = append(c.out, "\r\n"...)
		}
		c.out = append(c.out, part...)
		if sent += int64(len(part)); c.Chunked {
			c.out = append(c.out, "\r\n"...)
			if sent == c.BodyBytes {
				c.out = append(c.out, "0\r\n\r\n"...)
			}
		}
		if _, err := c.conn.Write(c.out); err != nil {
			return err
		}
		if c.WriteRate > 0 {
			time.Sleep(time.Duration(int64(len(part)) * int64(time.Second) / c.WriteRate))
		}
	}
	return nil
}

// kindOf names an error for the count: few kinds, and none that comes from outside.
func kindOf(err error) string {
	var bad *wrongError
	var opErr *net.OpError
	switch {
	case errors.As(err, &bad):
		return bad.what
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.As(err, &opErr) && opErr.Op == "dial":
		return "not connected"
	}
	return "other"
}
