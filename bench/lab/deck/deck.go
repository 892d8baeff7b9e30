// Package deck is a sample deck: a real HTTP server that says who it is and what it
// received, so that a person, or a test, sees where a request landed and with what.
package deck

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"gridrouter.io/bench/lab/httpserver"
)

// Bounds of what a client may ask of a deck.
const (
	MaxBody   = 1 << 30         // bytes of a request's body
	MaxBytes  = 256 << 20       // bytes that /bytes answers with
	MaxSlow   = time.Minute     // how long /slow waits
	MaxChunks = 10_000          // pieces that /stream sends
	MaxEvery  = 5 * time.Second // pause between the pieces of /stream
)

// Config describes one deck.
type Config struct {
	// Name is the deck's name, as its document says.
	Name string
	// Zone is a free label of where it runs.
	Zone string
	// Logger receives faults. Nil: no log.
	Logger *zap.Logger
}

// Answer is what a deck tells about a request, as JSON.
type Answer struct {
	// Deck and Zone say who answers.
	Deck string `json:"deck"`
	Zone string `json:"zone,omitempty"`
	// Method, Target and Protocol are the request line, as it arrived.
	Method   string `json:"method"`
	Target   string `json:"target"`
	Protocol string `json:"protocol"`
	// Host is the Host that the deck was asked for.
	Host string `json:"host"`
	// Peer is the address that the connection came from.
	Peer string `json:"peer"`
	// Headers are the field lines in the order and spelling in which they arrived.
	Headers []string `json:"headers"`
	// BodyBytes is the length of the request's body, without its framing.
	BodyBytes int64 `json:"bodyBytes"`
	// BodySHA256 is the digest of the body in hexadecimal digits; absent if it was empty.
	BodySHA256 string `json:"bodySha256,omitempty"`
}

// Header returns the value of the first field of that name, in whatever spelling, and
// whether there is one.
func (a *Answer) Header(name string) (string, bool) {
	for _, line := range a.Headers {
		if field, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(field, name) {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// Serve answers requests on the listener until ctx ends; then it waits for the
// requests in flight, for grace at most. It closes the listener.
func Serve(ctx context.Context, listener net.Listener, grace time.Duration, config Config) error {
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	if err := httpserver.Serve(ctx, listener, grace, (&handler{config}).serve, config.Logger); err != nil {
		return fmt.Errorf("deck %s: %w", config.Name, err)
	}
	return nil
}

type handler struct{ Config }

// serve reads the request whole, then answers as the path says.
func (h *handler) serve(ctx *fasthttp.RequestCtx) {
	head := &ctx.Request.Header
	answer := Answer{
		Deck: h.Name, Zone: h.Zone,
		Method: string(head.Method()), Target: string(head.RequestURI()), Protocol: string(head.Protocol()),
		Host: string(head.Host()), Peer: ctx.RemoteAddr().String(),
		Headers: fieldLines(head.RawHeaders()),
	}
	ctx.Response.Header.Set("X-Deck", h.Name)
	digest := sha256.New()
	n, err := io.Copy(digest, io.LimitReader(httpserver.Body(ctx), MaxBody+1))
	switch {
	case err != nil:
		refuse(ctx, "the body could not be read: "+err.Error())
	case n > MaxBody:
		ctx.SetConnectionClose()
		refuse(ctx, fmt.Sprintf("the body has more than %d bytes", MaxBody))
	default:
		answer.BodyBytes = n
		if n > 0 {
			answer.BodySHA256 = hex.EncodeToString(digest.Sum(nil))
		}
		h.answer(ctx, &answer)
	}
}

// fieldLines returns the field lines of a head as they arrived.
func fieldLines(raw []byte) []string {
	lines := []string{}
	for line := range bytes.Lines(raw) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	return lines
}

// answer is the table of special paths; every other path gets the plain answer.
func (h *handler) answer(ctx *fasthttp.RequestCtx, answer *Answer) {
	path := string(ctx.Path())
	switch {
	case path == "/slow":
		h.slow(ctx, answer)
	case path == "/bytes":
		h.bytes(ctx)
	case path == "/stream":
		h.stream(ctx)
	case strings.HasPrefix(path, "/status/"):
		code, err := strconv.Atoi(strings.TrimPrefix(path, "/status/"))
		if err != nil || code < 200 || code > 599 {
			refuse(ctx, "the status must be 200 to 599")
			return
		}
		writeJSON(ctx, code, answer)
	default:
		writeJSON(ctx, fasthttp.StatusOK, answer)
	}
}

// slow answers after ?for=, or gives up when the client leaves.
func (h *handler) slow(ctx *fasthttp.RequestCtx, answer *Answer) {
	wait, err := time.ParseDuration(queryOr(ctx, "for", ""))
	if err != nil || wait < 0 || wait > MaxSlow {
		refuse(ctx, "write for=DURATION, 0s to "+MaxSlow.String())
		return
	}
	if !httpserver.ConnOf(ctx).Wait(wait) {
		h.Logger.Info("client left before the answer", zap.String("target", answer.Target))
		ctx.SetConnectionClose()
		return
	}
	writeJSON(ctx, fasthttp.StatusOK, answer)
}

// bytes answers with ?n= bytes that repeat 0 to 255.
func (h *handler) bytes(ctx *fasthttp.RequestCtx) {
	n, err := strconv.Atoi(queryOr(ctx, "n", ""))
	if err != nil || n < 0 || n > MaxBytes {
		refuse(ctx, fmt.Sprintf("write n=BYTES, 0 to %d", MaxBytes))
		return
	}
	ctx.SetContentType("application/octet-stream")
	ctx.SetBodyStream(io.LimitReader(&repeated{}, int64(n)), n)
}

// repeated is an endless body, in which the bytes 0 to 255 repeat.
type repeated struct{ next byte }

// Read implements [io.Reader].
func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.next
		r.next++
	}
	return len(p), nil
}

// stream sends ?n= lines (default 10), one each ?every= (default 100ms), each at once.
func (h *handler) stream(ctx *fasthttp.RequestCtx) {
	n, errN := strconv.Atoi(queryOr(ctx, "n", "10"))
	every, errEvery := time.ParseDuration(queryOr(ctx, "every", "100ms"))
	if errN != nil || errEvery != nil || n < 1 || n > MaxChunks || every < 0 || every > MaxEvery {
		refuse(ctx, fmt.Sprintf("write n=1 to %d and every=0s to %s", MaxChunks, MaxEvery))
		return
	}
	ctx.SetContentType("text/plain; charset=utf-8")
	conn := httpserver.ConnOf(ctx)
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		for i := range n {
			if i > 0 && !conn.Wait(every) {
				return
			}
			_, _ = fmt.Fprintf(w, "%s %d of %d\n", h.Name, i+1, n) // Flush tells of what went wrong
			if err := w.Flush(); err != nil {
				return
			}
		}
	})
}

// queryOr returns a parameter of the query; fallback if it is empty or not there.
func queryOr(ctx *fasthttp.RequestCtx, name, fallback string) string {
	return cmp.Or(string(ctx.QueryArgs().Peek(name)), fallback)
}

// refuse answers that the request is wrong, and why.
func refuse(ctx *fasthttp.RequestCtx, why string) {
	ctx.SetStatusCode(fasthttp.StatusBadRequest)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString(why + "\n")
}

// writeJSON answers in a form that people can read.
func writeJSON(ctx *fasthttp.RequestCtx, code int, value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		ctx.Error(err.Error(), fasthttp.StatusInternalServerError)
		return
	}
	ctx.SetStatusCode(code)
	ctx.SetContentType("application/json")
	ctx.SetBody(append(text, '\n'))
}
