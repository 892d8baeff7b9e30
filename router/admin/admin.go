package admin

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"net/http/pprof"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
	"go.uber.org/zap"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
)

// Config says what the admin endpoints show.
type Config struct {
	// Version is what /version says beside the router's ID.
	Version string
	// Gatherer is what /metrics shows. Required.
	Gatherer prometheus.Gatherer
	// Source says where the documents come from; nil: unknown.
	Source func() SourceStatus
	// GSLB returns what /gslb shows, as JSON; nil: an empty list.
	GSLB func() any
	// Drain is called, once, when somebody asks to drain; nil: draining cannot be asked for.
	Drain func()
	// AcceptHeld puts into force what the guard holds up to a revision; nil: it cannot be asked for.
	AcceptHeld func(revision int64) error
	// Token is the bearer token that every request must bear; empty: none is needed.
	Token string
	// Logger takes what must not happen; nil: nothing is logged.
	Logger *zap.Logger
}

// SourceStatus is how the source of documents does.
type SourceStatus struct {
	// Kind is "etcd", "snapshot" or "files".
	Kind string `json:"source"`
	// Connected says that the last contact went well.
	Connected bool `json:"connected"`
	// Age is the time since the source last proved that the router is up to date.
	Age time.Duration `json:"-"`
	// Folder says that the source is a folder, also while Kind is "snapshot". It holds no word of what is
	// meant, which each router is told by itself.
	Folder bool `json:"-"`
	// Detail is where the source is, for people. Nothing secret.
	Detail string `json:"sourceDetail,omitempty"`
	// LastError is what went wrong last; empty while all is well. Nothing secret.
	LastError string `json:"lastError,omitempty"`
}

// New returns the handler of the admin endpoints. docs/ADMIN.md lists them.
func New(r Router, cfg Config) fasthttp.RequestHandler {
	a := &admin{router: r, cfg: cfg}
	mux := new(Mux)
	addHealth(mux, r, cfg.Source)
	mux.HandleFunc("GET /metrics", Metrics(cfg.Gatherer))
	mux.HandleFunc("GET /version", a.version)
	mux.HandleFunc("GET /table", a.table)
	mux.HandleFunc("GET /problems", a.problems)
	mux.HandleFunc("GET /export", a.export)
	mux.HandleFunc("GET /tenants/{name}", a.tenant)
	mux.HandleFunc("GET /decks", a.decks)
	mux.HandleFunc("GET /gslb", a.gslb)
	mux.HandleFunc("GET /explain", a.explain)
	mux.HandleFunc("POST /drain", a.drain)
	mux.HandleFunc("POST /guard/accept", a.acceptHeld)
	mux.HandleFunc("/debug/pprof/", adapted(pprof.Index))
	mux.HandleFunc("/debug/pprof/cmdline", adapted(pprof.Cmdline))
	mux.HandleFunc("/debug/pprof/profile", adapted(pprof.Profile))
	mux.HandleFunc("/debug/pprof/symbol", adapted(pprof.Symbol))
	mux.HandleFunc("/debug/pprof/trace", adapted(streamed(pprof.Trace)))
	return a.authorize(mux.Serve)
}

// Router is what the endpoints show of a router, and ask of it. All methods may be called at once
// from any goroutine. *router.Router implements it.
type Router interface {
	// ID is the router's name.
	ID() string
	// Ready says why the router should not be sent requests; nil: it should.
	Ready() error
	// InForce returns the table in force and when it was published; nil: none has been.
	InForce() (*routing.Table, time.Time)
	// TableAt returns the table that was in force last at a revision; present says that it is in
	// force now. The error says which revisions are kept. nil without an error: none has been published.
	TableAt(revision int64) (t *routing.Table, present bool, err error)
	// PinReader returns who reads the pins that tables do not hold; nil: nobody.
	PinReader() admission.PinReader
	// Decks says how each deck of the table in force does.
	Decks() []upstream.DeckStatus
	// Unreachable counts the decks that take requests and have no address, and names one of them.
	Unreachable() (decks int, example string)
	// Tunnels counts the open tunnels of a tenant.
	Tunnels(tenant string) int
	// BeginDrain begins to drain, and says whether this call was the one that began it.
	BeginDrain() bool
}

type admin struct {
	router Router
	cfg    Config
}

// authorize lets in who bears the token, in time that does not depend on what they bear. A
// page in somebody's browser must not act for them: requests with an Origin are refused
// where they change something.
func (a *admin) authorize(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	want := sha256.Sum256([]byte(a.cfg.Token))
	return func(ctx *fasthttp.RequestCtx) {
		if a.cfg.Token != "" {
			scheme, token, _ := strings.Cut(string(ctx.Request.Header.Peek("Authorization")), " ")
			got := sha256.Sum256([]byte(strings.TrimSpace(token)))
			if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				ctx.Response.Header.Set("WWW-Authenticate", "Bearer")
				Fail(ctx, http.StatusUnauthorized, "this needs the bearer token of --admin-token-file")
				return
			}
		}
		if ctx.IsPost() && len(ctx.Request.Header.Peek("Origin")) > 0 {
			Fail(ctx, http.StatusForbidden, "not from a web page")
			return
		}
		next(ctx)
	}
}

// Metrics returns the handler that shows what a gatherer has, as Prometheus asks for it.
func Metrics(from prometheus.Gatherer) fasthttp.RequestHandler {
	return fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(from, promhttp.HandlerOpts{}))
}

// adapted is a handler of package net/http/pprof. That of fasthttp, package pprofhandler, does not
// know /debug/pprof/ itself.
func adapted(handle http.HandlerFunc) fasthttp.RequestHandler {
	return fasthttpadaptor.NewFastHTTPHandler(handle)
}

// streamed is a handler whose answer is sent as it comes, and not gathered first: a trace may be large.
func streamed(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) { handle(&streamWriter{ResponseWriter: w}, req) }
}

type streamWriter struct {
	http.ResponseWriter
	flushed bool
}

// Write implements [io.Writer].
func (w *streamWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if !w.flushed && err == nil {
		w.flushed = true
		err = http.NewResponseController(w.ResponseWriter).Flush() // from here on fasthttp passes all on
	}
	return n, err
}

// queryOf returns the parameters of a request; what cannot be read of them is left out.
func queryOf(ctx *fasthttp.RequestCtx) url.Values {
	query, _ := url.ParseQuery(string(ctx.URI().QueryString()))
	return query
}

// say answers with a line of text.
func say(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetStatusCode(status)
	ctx.SetContentType(textPlain)
	ctx.SetBodyString(text + "\n")
}

// show answers with JSON that people can read too.
func show(ctx *fasthttp.RequestCtx, status int, what any) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // "&" is no \u0026 to people
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(what); err != nil {
		Fail(ctx, http.StatusInternalServerError, "this cannot be shown as JSON")
		return
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff") // so that no browser takes it for a page
	ctx.SetBody(text.Bytes())
}

// Fail answers with an error, as every listener here tells it: {"error": MESSAGE}.
func Fail(ctx *fasthttp.RequestCtx, status int, message string) {
	show(ctx, status, map[string]string{"error": message})
}

func (a *admin) version(ctx *fasthttp.RequestCtx) {
	show(ctx, http.StatusOK, map[string]string{"id": a.router.ID(), "version": a.cfg.Version})
}

func (a *admin) gslb(ctx *fasthttp.RequestCtx) {
	if a.cfg.GSLB == nil {
		show(ctx, http.StatusOK, []struct{}{})
		return
	}
	show(ctx, http.StatusOK, a.cfg.GSLB())
}

// export answers GET /export: every document that is in force, a JSON object a line.
func (a *admin) export(ctx *fasthttp.RequestCtx) {
	t, _ := a.router.InForce()
	if t == nil {
		Fail(ctx, http.StatusServiceUnavailable, noTable)
		return
	}
	ctx.SetContentType("application/x-ndjson")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.Response.Header.Set("X-Grid-Pins-On-Demand", strconv.Itoa(t.PinsOnDemand()))
	read, write := io.Pipe()
	go a.writeDocuments(write, t) // ends at the latest when fasthttp closes the reader
	ctx.SetBodyStream(read, -1)
}

const exportBytes = 32 << 10 // at once

// writeDocuments writes the documents of a table. What cannot be written whole is cut, so that nobody
// takes the part for all.
func (a *admin) writeDocuments(to *io.PipeWriter, t *routing.Table) {
	defer func() {
		if cause := recover(); cause != nil {
			logPanic(cmp.Or(a.cfg.Logger, zap.NewNop()), cause)
			_ = to.CloseWithError(io.ErrUnexpectedEOF)
		}
	}()
	buffered := bufio.NewWriterSize(to, exportBytes)
	lines := json.NewEncoder(buffered)
	lines.SetEscapeHTML(false)
	var err error
	t.Documents(func(_ string, document any) bool {
		err = lines.Encode(document)
		return err == nil
	})
	if err == nil {
		err = buffered.Flush()
	}
	_ = to.CloseWithError(err) // nil: it is whole; else whoever asked has left
}

// acceptHeld answers POST /guard/accept?revision=N.
func (a *admin) acceptHeld(ctx *fasthttp.RequestCtx) {
	revision, err := strconv.ParseInt(queryOf(ctx).Get("revision"), 10, 64)
	switch {
	case a.cfg.AcceptHeld == nil:
		Fail(ctx, http.StatusNotFound, "nothing can be accepted here")
	case err != nil || revision < 1:
		Fail(ctx, http.StatusBadRequest, "revision is no whole number; write the one that /readyz says")
	default:
		if err := a.cfg.AcceptHeld(revision); err != nil {
			Fail(ctx, http.StatusConflict, err.Error())
			return
		}
		say(ctx, http.StatusOK, "what was held is in force")
	}
}

func (a *admin) drain(ctx *fasthttp.RequestCtx) {
	if a.cfg.Drain == nil {
		Fail(ctx, http.StatusNotImplemented, "this router cannot be drained from here")
		return
	}
	if a.router.BeginDrain() {
		a.cfg.Drain()
	}
	show(ctx, http.StatusAccepted, map[string]bool{"draining": true})
}
