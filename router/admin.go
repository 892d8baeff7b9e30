package router

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
)

// AdminConfig says what the admin endpoints show.
type AdminConfig struct {
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

// NewHealth returns the handler that answers /healthz and /readyz, and nothing else. It
// tells those who ask only why the router is not ready.
func NewHealth(r *Router, source func() SourceStatus) http.Handler {
	mux := http.NewServeMux()
	addHealth(mux, r, source)
	return mux
}

func addHealth(mux *http.ServeMux, r *Router, source func() SourceStatus) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := r.Ready()
		if err == nil {
			say(w, http.StatusOK, "ready"+guardNote(r.Table())+r.unusableNote())
			return
		}
		text := "not ready: " + err.Error()
		if r.Table() == nil && source != nil {
			if cause := source().LastError; cause != "" {
				text += " (" + cause + ")"
			}
		}
		say(w, http.StatusServiceUnavailable, text)
	})
}

// guardNote says that the guard holds something, which is no reason to send no requests.
func guardNote(t *routing.Table) string {
	if t == nil || t.Guard() == nil {
		return ""
	}
	held := t.Guard()
	return fmt.Sprintf("\nthe guard holds a mass change of %d documents, up to revision %d: see gridctl guard", held.Documents, held.Revision)
}

// unusableNote says that decks have no address, which is no reason to send no requests: those of
// other decks are served, and another router may have no more.
func (r *Router) unusableNote() string {
	now := r.published.Load()
	if now == nil {
		return ""
	}
	decks, example := now.unusable()
	if decks == 0 {
		return ""
	}
	return fmt.Sprintf("\n%d deck(s) have no address, among them %s: their names could not be resolved so far", decks, example)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // whoever asked has left
}

// NewAdmin returns the handler of the admin endpoints.
func NewAdmin(r *Router, cfg AdminConfig) http.Handler {
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

type admin struct {
	router *Router
	cfg    AdminConfig
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

// tableView is what /table shows.
type tableView struct {
	Revision      int64  `json:"revision"`
	Hash          string `json:"hash"`
	EffectiveHash string `json:"effectiveHash"`
	SourceStatus
	AgeSeconds       float64        `json:"ageSeconds"`
	PublishedSeconds float64        `json:"publishedSecondsAgo"`
	Counts           routing.Counts `json:"counts"`
	// Guard is what the guard against mass changes holds; absent: nothing.
	Guard *routing.GuardState `json:"guard,omitempty"`
}

func (a *admin) table(w http.ResponseWriter, _ *http.Request) {
	now := a.router.published.Load()
	if now == nil {
		fail(w, http.StatusServiceUnavailable, "no documents have been loaded yet")
		return
	}
	view := tableView{
		Revision: now.table.Revision(), Hash: now.table.Hash(), EffectiveHash: now.table.EffectiveHash(),
		PublishedSeconds: time.Since(now.at).Seconds(), Counts: now.table.Counts(),
		Guard: now.table.Guard(),
	}
	if a.cfg.Source != nil {
		view.SourceStatus = a.cfg.Source()
		view.AgeSeconds = view.Age.Seconds()
	}
	show(w, http.StatusOK, view)
}

func (a *admin) problems(w http.ResponseWriter, _ *http.Request) {
	problems := []routing.Problem{}
	if t := a.router.Table(); t != nil {
		problems = append(problems, t.Problems()...)
	}
	show(w, http.StatusOK, problems)
}

// tenantView is what /tenants/NAME shows.
type tenantView struct {
	Name  string `json:"name"`
	Epoch uint64 `json:"epoch"`
	Pins  int    `json:"pins"`
	// Tunnels counts the open tunnels of the moment, such as WebSockets.
	Tunnels int `json:"tunnels"`
	// Hosts are those that the tenant holds; its document may name more.
	Hosts []string `json:"hosts"`
	// Document is the form in force; none if the tenant never had a good one.
	Document *routing.Tenant   `json:"document,omitempty"`
	Problems []routing.Problem `json:"problems,omitempty"`
}

func (a *admin) tenant(w http.ResponseWriter, req *http.Request) {
	name := req.PathValue("name")
	t, _ := a.tableOf(w, req)
	if t == nil {
		return
	}
	view := tenantView{Name: name, Hosts: []string{}}
	for _, problem := range t.Problems() {
		if problem.Key == "tenants/"+name || strings.HasPrefix(problem.Key, "pins/"+name+"/") {
			view.Problems = append(view.Problems, problem)
		}
	}
	tenant, known := t.Tenant(name)
	if !known && len(view.Problems) == 0 {
		fail(w, http.StatusNotFound, "there is no such tenant")
		return
	}
	if known {
		view.Epoch, view.Pins, view.Document = tenant.Epoch, tenant.Pins, tenant.Document
		view.Tunnels = a.router.tunnels.of(name)
		view.Hosts = append(view.Hosts, t.Hosts(name)...)
	}
	show(w, http.StatusOK, view)
}

func (a *admin) decks(w http.ResponseWriter, _ *http.Request) {
	decks := []upstream.DeckStatus{}
	if now := a.router.published.Load(); now != nil {
		for _, view := range now.decks {
			if view != nil {
				decks = append(decks, view.live.Status(view.compiled, view.endpoints, view.tried))
			}
		}
	}
	show(w, http.StatusOK, decks)
}

func (a *admin) gslb(w http.ResponseWriter, _ *http.Request) {
	if a.cfg.GSLB == nil {
		show(w, http.StatusOK, []struct{}{})
		return
	}
	show(w, http.StatusOK, a.cfg.GSLB())
}

func (a *admin) explain(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	client, err := readClientIP(query.Get("clientIP"))
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if query.Get("url") == "" {
		fail(w, http.StatusBadRequest, "say which request: ?url=http://HOST/PATH&method=M&header=Name:Value&clientIP=IP&revision=N")
		return
	}
	t, present := a.tableOf(w, req)
	if t == nil {
		return
	}
	explanation, err := admission.ExplainPinned(t, a.pinReader(present), query.Get("method"), query.Get("url"), query["header"], client)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	show(w, http.StatusOK, explanation)
}

func readClientIP(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, errors.New("clientIP is no IP address; write one such as 192.0.2.7")
	}
	return address.Unmap(), nil
}

// export answers GET /export: every document that is in force, a JSON object a line.
func (a *admin) export(w http.ResponseWriter, _ *http.Request) {
	t := a.router.Table()
	if t == nil {
		fail(w, http.StatusServiceUnavailable, errNoTable.Error())
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
