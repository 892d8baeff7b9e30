package admin

import (
	"bytes"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// Mux sends a request to a handler by its method and path. It answers what none is for with the
// statuses of [http.ServeMux]: 404, 405 with Allow, and 307 to the clean form of a path. Register all handlers
// before it serves; then it may serve from any goroutine.
type Mux struct {
	entries []entry
}

// entry is one pattern.
type entry struct {
	method string // empty: any
	path   string
	handle fasthttp.RequestHandler
}

// HandleFunc registers a handler for a pattern: "GET /path", which answers HEAD too; "/path", for any
// method; "/path/", for all that begins so; "GET /path/{name}", for one segment, which is then the
// request's user value "name". Of several that fit the longest holds.
func (m *Mux) HandleFunc(pattern string, handle fasthttp.RequestHandler) {
	method, path, found := strings.Cut(pattern, " ")
	if !found {
		method, path = "", pattern
	}
	m.entries = append(m.entries, entry{method, path, handle})
}

// Serve answers a request. It is a [fasthttp.RequestHandler].
func (m *Mux) Serve(ctx *fasthttp.RequestCtx) {
	escaped := string(ctx.URI().PathOriginal())
	if _, err := url.PathUnescape(escaped); err != nil || !hasPath(ctx.Request.Header.RequestURI()) {
		Fail(ctx, http.StatusBadRequest, "this path cannot be read")
		return
	}
	if clean := cleanPath(escaped); clean != escaped {
		redirect(ctx, clean)
		return
	}
	method := string(ctx.Method())
	var best *entry
	var allowed []string
	for i := range m.entries {
		e := &m.entries[i]
		switch {
		case !e.fits(escaped):
		case e.method == "", e.method == method, e.method == http.MethodGet && method == http.MethodHead:
			if best == nil || len(e.path) > len(best.path) {
				best = e
			}
		default:
			allowed = append(allowed, e.method)
			if e.method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
	}
	switch {
	case best != nil:
		best.take(ctx, escaped)
	case len(allowed) > 0:
		slices.Sort(allowed)
		ctx.Response.Header.Set("Allow", strings.Join(allowed, ", "))
		Fail(ctx, http.StatusMethodNotAllowed, "this method is not for this path; use "+strings.Join(allowed, " or "))
	case m.hasFolder(escaped + "/"):
		redirect(ctx, escaped+"/")
	default:
		Fail(ctx, http.StatusNotFound, "there is no such endpoint")
	}
}

const segment = "{name}"

// fits says whether the entry is for a path, whatever the method.
func (e *entry) fits(escaped string) bool {
	if before, ok := strings.CutSuffix(e.path, segment); ok {
		rest, ok := strings.CutPrefix(escaped, before)
		return ok && rest != "" && !strings.Contains(rest, "/")
	}
	text, _ := url.PathUnescape(escaped) // Serve has tried
	return text == e.path || strings.HasSuffix(e.path, "/") && strings.HasPrefix(text, e.path)
}

// take hands a request to the entry's handler.
func (e *entry) take(ctx *fasthttp.RequestCtx, escaped string) {
	if before, ok := strings.CutSuffix(e.path, segment); ok {
		name, _ := url.PathUnescape(escaped[len(before):]) // Serve has tried
		ctx.SetUserValue("name", name)
	}
	e.handle(ctx)
}

func (m *Mux) hasFolder(path string) bool {
	return slices.ContainsFunc(m.entries, func(e entry) bool { return e.path == path })
}

// hasPath says whether a request target is a path, or a whole URL.
func hasPath(target []byte) bool {
	return bytes.HasPrefix(target, []byte("/")) || bytes.Contains(target, []byte("://"))
}

// cleanPath removes what a path has twice, "." and "..".
func cleanPath(escaped string) string {
	clean := path.Clean("/" + escaped)
	if strings.HasSuffix(escaped, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

func redirect(ctx *fasthttp.RequestCtx, to string) {
	if query := string(ctx.URI().QueryString()); query != "" {
		to += "?" + query
	}
	ctx.Response.Header.Set("Location", to)
	ctx.SetStatusCode(http.StatusTemporaryRedirect)
	ctx.SetContentType(textPlain)
	ctx.SetBodyString("Temporary Redirect\n")
}

const textPlain = "text/plain; charset=utf-8"
