package main

import (
	"net/http"
	"sync"
)

// answers are JSON texts that a test has stored for paths, so that the server can stand for any API.
type answers struct {
	mu     sync.Mutex
	byPath map[string]string
}

// store takes the text for a path.
func (a *answers) store(_ http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byPath[r.FormValue("path")] = r.FormValue("text")
}

// give answers with the text for the request's path. X-Asked-By says who asked, as the API server
// tells it of those whose requests it passes on, and X-Peer who brought the request.
func (a *answers) give(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	text, found := a.byPath[r.URL.Path]
	a.mu.Unlock()
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Asked-By", r.Header.Get("X-Remote-User"))
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		w.Header().Set("X-Peer", r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(text)) // if it cannot be written, who asked has gone
}
