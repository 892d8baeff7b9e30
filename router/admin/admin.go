package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

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
}

// SourceStatus is how the source of documents does.
type SourceStatus struct {
	// Kind is "etcd", "snapshot" or "files".
	Kind string `json:"source"`
	// Connected says that the last contact went well.
	Connected bool `json:"connected"`
	// Age is the time since the source last proved that the router is up to date.
	Age time.Duration `json:"-"`
	// Detail is where the source is, for people. Nothing secret.
	Detail string `json:"sourceDetail,omitempty"`
	// LastError is what went wrong last; empty while all is well. Nothing secret.
	LastError string `json:"lastError,omitempty"`
}

// New returns the handler of the admin endpoints. docs/ADMIN.md lists them.
func New(r Router, cfg Config) http.Handler {
	a := &admin{router: r, cfg: cfg}
	mux := http.NewServeMux()
	addHealth(mux, r, cfg.Source)
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{}))
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
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return a.guard(mux)
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

// guard lets in who bears the token, in time that does not depend on what they bear. A
// page in somebody's browser must not act for them: requests with an Origin are refused
// where they change something.
func (a *admin) guard(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(a.cfg.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if a.cfg.Token != "" {
			scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
			got := sha256.Sum256([]byte(strings.TrimSpace(token)))
			if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				fail(w, http.StatusUnauthorized, "this needs the bearer token of --admin-token-file")
				return
			}
		}
		if req.Method == http.MethodPost && req.Header.Get("Origin") != "" {
			fail(w, http.StatusForbidden, "not from a web page")
			return
		}
		next.ServeHTTP(w, req)
	})
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // whoever asked has left
}

// show answers with JSON that people can read too.
func show(w http.ResponseWriter, status int, what any) {
	text, err := json.MarshalIndent(what, "", "  ")
	if err != nil {
		fail(w, http.StatusInternalServerError, "this cannot be shown as JSON")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // whoever asked has left
}

func fail(w http.ResponseWriter, status int, message string) {
	show(w, status, map[string]string{"error": message})
}

func (a *admin) version(w http.ResponseWriter, _ *http.Request) {
	show(w, http.StatusOK, map[string]string{"id": a.router.ID(), "version": a.cfg.Version})
}

func (a *admin) gslb(w http.ResponseWriter, _ *http.Request) {
	if a.cfg.GSLB == nil {
		show(w, http.StatusOK, []struct{}{})
		return
	}
	show(w, http.StatusOK, a.cfg.GSLB())
}

// export answers GET /export: every document that is in force, a JSON object a line.
func (a *admin) export(w http.ResponseWriter, _ *http.Request) {
	t, _ := a.router.InForce()
	if t == nil {
		fail(w, http.StatusServiceUnavailable, noTable)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Grid-Pins-On-Demand", strconv.Itoa(t.PinsOnDemand()))
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	t.Documents(func(_ string, document any) bool { return lines.Encode(document) == nil }) // whoever asked has left
}

// acceptHeld answers POST /guard/accept?revision=N.
func (a *admin) acceptHeld(w http.ResponseWriter, req *http.Request) {
	revision, err := strconv.ParseInt(req.URL.Query().Get("revision"), 10, 64)
	switch {
	case a.cfg.AcceptHeld == nil:
		fail(w, http.StatusNotFound, "nothing can be accepted here")
	case err != nil || revision < 1:
		fail(w, http.StatusBadRequest, "revision is no whole number; write the one that /readyz says")
	default:
		if err := a.cfg.AcceptHeld(revision); err != nil {
			fail(w, http.StatusConflict, err.Error())
			return
		}
		say(w, http.StatusOK, "what was held is in force")
	}
}

func (a *admin) drain(w http.ResponseWriter, _ *http.Request) {
	if a.cfg.Drain == nil {
		fail(w, http.StatusNotImplemented, "this router cannot be drained from here")
		return
	}
	if a.router.BeginDrain() {
		a.cfg.Drain()
	}
	show(w, http.StatusAccepted, map[string]bool{"draining": true})
}
