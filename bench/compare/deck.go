package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"gridrouter.io/bench/load"
)

// Fields that decks answer with: who they are, and what they received.
const (
	deckHeader     = "X-Deck"
	receivedHeader = "X-Received"
	mostBytes      = 64 << 20
)

// ServeDecks serves decks d0, d1, ... at the addresses until ctx ends. GET /N answers with N
// bytes of [load.Body]; a body is read and its [load.Received] told; a WebSocket is echoed.
func ServeDecks(ctx context.Context, addrs []string) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, addr := range addrs {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		server := newDeck(fmt.Sprint("d", i))
		group.Go(func() error { return server.Serve(listener) })
		group.Go(func() error {
			<-ctx.Done()
			_ = listener.Close() // the process ends next: nobody is left to tell
			return nil
		})
	}
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func newDeck(name string) *fasthttp.Server {
	d := &deck{name: name, body: load.Body(1 << 20)}
	return &fasthttp.Server{
		Handler: d.serve, Name: "deck", StreamRequestBody: true, MaxRequestBodySize: mostBytes,
		NoDefaultDate: true, ReadBufferSize: 16 << 10, WriteBufferSize: 64 << 10, Logger: silent{},
	}
}

type silent struct{}

// Printf implements [fasthttp.Logger].
func (silent) Printf(string, ...any) {}

type deck struct {
	name string
	body []byte
}

func (d *deck) serve(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set(deckHeader, d.name)
	if key := ctx.Request.Header.Peek("Sec-WebSocket-Key"); len(key) > 0 {
		ctx.SetStatusCode(fasthttp.StatusSwitchingProtocols)
		ctx.Response.Header.Set("Connection", "Upgrade")
		ctx.Response.Header.Set("Upgrade", "websocket")
		ctx.Response.Header.Set("Sec-WebSocket-Accept", load.AcceptKey(string(key)))
		ctx.Hijack(echo)
		return
	}
	if ctx.Request.Header.ContentLength() != 0 && !ctx.IsGet() {
		size, sum, err := receive(ctx.RequestBodyStream())
		if err != nil {
			ctx.Error(err.Error(), fasthttp.StatusBadRequest)
			return
		}
		ctx.Response.Header.Set(receivedHeader, load.Received(size, sum))
	}
	size, err := strconv.Atoi(string(bytes.TrimPrefix(ctx.Path(), []byte("/"))))
	switch {
	case err != nil || size < 0 || size > mostBytes:
		ctx.Error("the path is /BYTES", fasthttp.StatusNotFound)
	case size <= len(d.body):
		ctx.Response.SetBodyRaw(d.body[:size])
	default:
		ctx.SetBodyStream(io.LimitReader(&repeated{body: d.body}, int64(size)), size)
	}
}

func receive(body io.Reader) (size int64, sum uint32, err error) {
	if body == nil {
		return 0, 0, nil
	}
	digest := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	size, err = io.Copy(digest, body)
	return size, digest.Sum32(), err
}

// repeated is a body over and over.
type repeated struct {
	body []byte
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	n = copy(p, r.body[r.at:])
	r.at = (r.at + n) % len(r.body)
	return n, nil
}

// echo sends the frames of a WebSocket back, without their masks (RFC 6455 5).
func echo(conn net.Conn) {
	buf := make([]byte, 0, 128<<10)
	for {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return
		}
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			frame, after, err := unmask(rest)
			if err != nil {
				return
			}
			if frame == nil {
				break
			}
			if _, err := conn.Write(frame); err != nil {
				return
			}
			rest = after
		}
		buf = buf[:copy(buf, rest)]
	}
}

// unmask turns the first frame of in, in place, into the one to send back; nil: there is no
// whole frame yet.
func unmask(in []byte) (frame, rest []byte, err error) {
	if len(in) < 2 {
		return nil, in, nil
	}
	size, head := int(in[1]&0x7f), 2
	switch {
	case in[1]&0x80 == 0 || size == 127 || in[0]&0xf == 0x8:
		return nil, nil, errors.New("the frame is unmasked, too long, or closes")
	case size == 126 && len(in) < 4:
		return nil, in, nil
	case size == 126:
		size, head = int(in[2])<<8|int(in[3]), 4
	}
	if len(in) < head+4+size {
		return nil, in, nil
	}
	mask := [4]byte(in[head : head+4])
	payload := in[head+4 : head+4+size]
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	// The head moves up to the payload, over the mask.
	copy(in[4:], in[:head])
	in[5] &= 0x7f
	return in[4 : head+4+size], in[head+4+size:], nil
}
