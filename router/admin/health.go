package admin

import (
	"fmt"
	"net/http"

	"github.com/valyala/fasthttp"

	"gridrouter.io/routing"
)

// NewHealth returns the handler that answers /healthz and /readyz, and nothing else. It
// tells those who ask only why the router is not ready.
func NewHealth(r Router, source func() SourceStatus) fasthttp.RequestHandler {
	mux := new(Mux)
	addHealth(mux, r, source)
	return mux.Serve
}

func addHealth(mux *Mux, r Router, source func() SourceStatus) {
	mux.HandleFunc("GET /healthz", func(ctx *fasthttp.RequestCtx) { say(ctx, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(ctx *fasthttp.RequestCtx) {
		err := r.Ready()
		table, _ := r.InForce()
		if err == nil {
			say(ctx, http.StatusOK, "ready"+partNote(table)+guardNote(table, source)+addressNote(r))
			return
		}
		text := "not ready: " + err.Error()
		if table == nil && source != nil {
			if cause := source().LastError; cause != "" {
				text += " (" + cause + ")"
			}
		}
		say(ctx, http.StatusServiceUnavailable, text)
	})
}

// partNote says that a part of the documents has never been read, which is no reason to send no
// requests: the tenants of all others are served.
func partNote(t *routing.Table) string {
	if t == nil || !t.Partial() {
		return ""
	}
	return "\nsome files of documents could never be read: a host that no known tenant owns is answered with no_table, and whoever catches all is not served; see /problems"
}

// guardNote says that the guard holds something, which is no reason to send no requests.
func guardNote(t *routing.Table, source func() SourceStatus) string {
	if t == nil || t.Guard() == nil {
		return ""
	}
	held := t.Guard()
	mend := "see gridctl guard"
	if source != nil && source().Folder {
		mend = fmt.Sprintf("put the files back, or, if it is meant, write gridctl guard accept %d --router ADDRESS, that of --admin", held.Revision)
	}
	return fmt.Sprintf("\nthe guard holds changes of %d documents, up to revision %d: %s", held.Documents, held.Revision, mend)
}

// addressNote says that decks have no address, which is no reason to send no requests: those of
// other decks are served, and another router may have no more.
func addressNote(r Router) string {
	decks, example := r.Unreachable()
	if decks == 0 {
		return ""
	}
	return fmt.Sprintf("\n%d deck(s) have no address, among them %s: their names could not be resolved so far", decks, example)
}
