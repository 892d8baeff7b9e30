// Package deck is a sample deck: a real HTTP server that says who it is and what it
// received, so that a person, or a test, sees where a request landed and with what.
package deck

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
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
	server := &http.Server{
		Handler:           &handler{config},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          zap.NewStdLog(config.Logger),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, tapKey{}, conn)
		},
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := server.Shutdown(drain)
		if err != nil {
			err = server.Close()
		}
		stopped <- err
	})
	defer stop()
	if err := server.Serve(tapListener{listener}); err != nil && err != http.ErrServerClosed {
		return fmt.Errorf("deck %s: %w", config.Name, err)
	}
	return <-stopped
}

type tapKey struct{}

type handler struct{ Config }

// ServeHTTP reads the request whole, then answers as the path says.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := Answer{
		Deck: h.Name, Zone: h.Zone,
		Method: r.Method, Target: r.RequestURI, Protocol: r.Proto, Host: r.Host, Peer: r.RemoteAddr,
		Headers: receivedFields(r),
	}
	w.Header().Set("X-Deck", h.Name)
	digest := sha256.New()
	n, err := io.Copy(digest, http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		http.Error(w, "the body could not be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	answer.BodyBytes = n
	if n > 0 {
		answer.BodySHA256 = hexDigest(digest)
	}
	h.answer(w, r, &answer)
}

// answer is the table of special paths; every other path gets the plain answer.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, answer *Answer) {
	path := r.URL.Path
	switch {
	case path == "/slow":
		h.slow(w, r, answer)
	case path == "/bytes":
		h.bytes(w, r)
	case path == "/stream":
		h.stream(w, r)
	case strings.HasPrefix(path, "/status/"):
		code, err := strconv.Atoi(strings.TrimPrefix(path, "/status/"))
		if err != nil || code < 200 || code > 599 {
			http.Error(w, "the status must be 200 to 599", http.StatusBadRequest)
			return
		}
		writeJSON(w, code, answer)
	default:
		writeJSON(w, http.StatusOK, answer)
	}
}

// slow answers after ?for=, or gives up when the client leaves.
func (h *handler) slow(w http.ResponseWriter, r *http.Request, answer *Answer) {
	wait, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil || wait < 0 || wait > MaxSlow {
		http.Error(w, "write for=DURATION, 0s to "+MaxSlow.String(), http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(wait):
		writeJSON(w, http.StatusOK, answer)
	case <-r.Context().Done():
		h.Logger.Info("client left before the answer", zap.String("target", r.RequestURI))
	}
}

// bytes answers with ?n= bytes that repeat 0 to 255.
func (h *handler) bytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || n < 0 || n > MaxBytes {
		http.Error(w, fmt.Sprintf("write n=BYTES, 0 to %d", MaxBytes), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	pattern := make([]byte, 64<<10)
	for i := range pattern {
		pattern[i] = byte(i)
	}
	for n > 0 {
		piece := pattern[:min(n, len(pattern))]
		if _, err := w.Write(piece); err != nil {
			return
		}
		n -= len(piece)
	}
}

// stream sends ?n= lines (default 10), one each ?every= (default 100ms), each at once.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	n, errN := strconv.Atoi(orDefault(query.Get("n"), "10"))
	every, errEvery := time.ParseDuration(orDefault(query.Get("every"), "100ms"))
	if errN != nil || errEvery != nil || n < 1 || n > MaxChunks || every < 0 || every > MaxEvery {
		http.Error(w, fmt.Sprintf("write n=1 to %d and every=0s to %s", MaxChunks, MaxEvery), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flusher := http.NewResponseController(w)
	for i := range n {
		if i > 0 {
			select {
			case <-time.After(every):
			case <-r.Context().Done():
				return
			}
		}
		if _, err := fmt.Fprintf(w, "%s %d of %d\n", h.Name, i+1, n); err != nil {
			return
		}
		if err := flusher.Flush(); err != nil {
			return
		}
	}
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func hexDigest(digest hash.Hash) string { return hex.EncodeToString(digest.Sum(nil)) }

// writeJSON answers in a form that people can read. A client that left is no fault.
func writeJSON(w http.ResponseWriter, code int, value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	text = append(text, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	_, _ = w.Write(text)
}
