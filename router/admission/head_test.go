package admission

import (
	"slices"
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func line(method, target, version string) RequestLine {
	return RequestLine{Method: []byte(method), Target: []byte(target), Version: []byte(version)}
}

// check checks a GET of / with the field lines.
func check(h *Head, fields string) Refusal {
	return h.Check(line("GET", "/", "HTTP/1.1"), []byte(fields))
}

func TestTheAuthorityHasOneSpelling(t *testing.T) {
	f := func(host, want, port string) {
		t.Helper()
		var h Head
		if r := check(&h, "Host: "+host+"\r\n\r\n"); r != (Refusal{}) {
			t.Fatalf("%q is refused: %s", host, r.Reason)
		}
		if string(h.Request.Host) != want || string(h.Authority.Port) != port || string(h.Authority.Host) != want {
			t.Fatalf("%q: got %q %q, want %q %q", host, h.Request.Host, h.Authority.Port, want, port)
		}
	}
	f("acme.test", "acme.test", "")
	f(" \tACME.Test \t", "acme.test", "")
	f("acme.test.", "acme.test", "")
	f("acme.test.:80", "acme.test", "80")
	f("acme.test:65535", "acme.test", "65535")
	f("a_b.c-d", "a_b.c-d", "")
	f("192.0.2.1:8080", "192.0.2.1", "8080")
	f("[2001:DB8:0::1]", "[2001:db8::1]", "")
	f("[::1]:443", "[::1]", "443")
	f(strings.Repeat("a.", 126)+"a", strings.Repeat("a.", 126)+"a", "")
}

func TestWhatIsNoAuthorityIsRefused(t *testing.T) {
	f := func(host string) {
		t.Helper()
		var h Head
		if r := check(&h, "Host: "+host+"\r\n\r\n"); r.Fault != routing.FaultBadRequest || r.Reason == "" {
			t.Fatalf("%q: got %+v", host, r)
		}
	}
	for _, host := range []string{
		"", " ", ".", "..", "a..b", ".a", "a..", "a.test, b.test", "a.test b.test", "user@a.test", "user:p@a.test", ":", ":80", "a.test::", "a.test:0",
		"a.test:65536", "a.test:99999", "a.test:080800", "a.test:8x", "a.test:80:80", "a.test:-1", "a%2etest", "bücher.test", "a.test/", "a.test?x", "a.test#x",
		"[::1", "::1", "[::1]x", "[::1%25eth0]", "[::1%eth0]", "[192.0.2.1]", "[]", "a]b", "a\\b", "a;b", "*.a.test", "a.test\x00",
		strings.Repeat("a.", 127) + "a",
	} {
		f(host)
	}
	var h Head
	if r := check(&h, "X: y\r\n\r\n"); r.Fault != routing.FaultBadRequest {
		t.Fatalf("without Host: %+v", r)
	}
	if r := check(&h, "Host: a.test\r\nhost: a.test\r\n\r\n"); r.Fault != routing.FaultBadRequest {
		t.Fatalf("with two: %+v", r)
	}
}

func TestTargets(t *testing.T) {
	f := func(method, target, origin, path, query string) {
		t.Helper()
		var h Head
		if r := h.Check(line(method, target, "HTTP/1.1"), []byte("Host: acme.test:80\r\n\r\n")); r != (Refusal{}) {
			t.Fatalf("%q is refused: %s", target, r.Reason)
		}
		if string(h.Target) != origin || string(h.Request.Path) != path || string(h.Request.Query) != query {
			t.Fatalf("%q: got %q %q %q", target, h.Target, h.Request.Path, h.Request.Query)
		}
	}
	f("GET", "/", "/", "/", "")
	f("GET", "/a/../b%2f?x=?", "/a/../b%2f?x=?", "/a/../b%2f", "x=?")
	f("GET", "/?", "/?", "/", "")
	f("GET", "//evil.test/x", "//evil.test/x", "//evil.test/x", "")
	f("GET", "http://acme.test:80/a?b", "/a?b", "/a", "b")
	f("GET", "HTTP://ACME.TEST.:80?b", "/?b", "/", "b")
	f("GET", "https://acme.test:80", "/", "/", "")
	f("OPTIONS", "*", "*", "*", "")
	f("OPTIONS", "http://acme.test:80", "*", "*", "")
	f("OPTIONS", "http://acme.test:80/", "/", "/", "")
}

func TestTargetsThatAreRefused(t *testing.T) {
	f := func(method, target string, fault routing.Fault) {
		t.Helper()
		var h Head
		if r := h.Check(line(method, target, "HTTP/1.1"), []byte("Host: acme.test\r\n\r\n")); r.Fault != fault {
			t.Fatalf("%q: got %+v, want %s", target, r, fault)
		}
	}
	const bad = routing.FaultBadRequest
	f("GET", "", bad)
	f("GET", "*", bad)
	f("GET", "x", bad)
	f("GET", "/#x", bad)
	f("GET", "/a b", bad)
	f("GET", "/\x01", bad)
	f("GET", "/\x7f", bad)
	f("GET", "ftp://acme.test/", bad)
	f("GET", "http:///", bad)
	f("GET", "http://evil.test/", bad)
	f("GET", "http://acme.test:81/", bad) // Host names no port
	f("GET", "http://u:p@acme.test/", bad)
	f("GET", "http://acme.test,evil.test/", bad)
	f("GET", "acme.test:443", bad)
	f("CONNECT", "acme.test:443", MethodNotAllowed)
	f("TRACE", "/", MethodNotAllowed)
	f("G T", "/", bad)
	f("", "/", bad)
	f("GET", "/"+strings.Repeat("a", MaxTargetBytes), URITooLong)
	f("GET", "/"+strings.Repeat("a", MaxTargetBytes-1), routing.FaultNone)
}

// A target that one server ends at a blank beyond ASCII, and another does not, is two targets.
func TestEachOctetOfATarget(t *testing.T) {
	for _, form := range []string{"/%s", "/admin%s", "/%s/admin", "/a?%s", "/a?b=%sc", "http://acme.test/%s", "http://acme.test?%s"} {
		for c := range 256 {
			octet := string([]byte{byte(c)})
			want := routing.FaultNone
			path := !strings.Contains(form, "?")
			if c <= ' ' || c >= 0x7f || c == '#' || c == '%' && path {
				want = routing.FaultBadRequest
			}
			var h Head
			target := strings.Replace(form, "%s", octet, 1)
			if r := h.Check(line("GET", target, "HTTP/1.1"), []byte("Host: acme.test\r\n\r\n")); r.Fault != want {
				t.Errorf("%q: got %+v, want %q", target, r, want)
			}
		}
	}
}

func TestVersions(t *testing.T) {
	f := func(version string, fault routing.Fault) {
		t.Helper()
		var h Head
		if r := h.Check(line("GET", "/", version), []byte("Host: a\r\n\r\n")); r.Fault != fault {
			t.Fatalf("%q: got %+v, want %s", version, r, fault)
		}
	}
	f("HTTP/1.1", routing.FaultNone)
	f("HTTP/1.0", routing.FaultNone)
	f("HTTP/0.9", VersionNotSupported)
	f("HTTP/1.2", VersionNotSupported)
	f("HTTP/2.0", VersionNotSupported)
	f("HTTP/9.9", VersionNotSupported)
	var h Head
	if r := h.Check(line("PRI", "*", "HTTP/2.0"), []byte("\r\n")); r.Fault != VersionNotSupported || !strings.Contains(r.Reason, "HTTP/2") {
		t.Errorf("the preface of HTTP/2: %+v", r)
	}
	if r := h.Check(line("PRI", "*", "HTTP/1.1"), []byte("Host: a\r\n\r\n")); r.Fault != routing.FaultBadRequest {
		t.Errorf("its method alone: %+v", r)
	}
	f("HTTP/2", routing.FaultBadRequest)
	f("http/1.1", routing.FaultBadRequest)
	f("HTTP/1.1 ", routing.FaultBadRequest)
	f("", routing.FaultBadRequest)
}

func TestFieldLinesThatAreRefused(t *testing.T) {
	f := func(fields string, fault routing.Fault) {
		t.Helper()
		var h Head
		if r := check(&h, "Host: a\r\n"+fields); r.Fault != fault {
			t.Fatalf("%q: got %+v, want %s", fields, r, fault)
		}
	}
	const bad = routing.FaultBadRequest
	f("X: y\r\n\r\n", routing.FaultNone)
	f("X:\r\n\r\n", routing.FaultNone)
	f("X: \x80\xff\t!\r\n\r\n", routing.FaultNone)
	f("X: y\n\r\n", bad)
	f("X: y\r\n\n", bad)
	f("X: y\r\n", bad) // no end
	f("X: y", bad)
	f("X: y\r\n\r\nX: z\r\n", bad)
	f("X: y\r\n z\r\n\r\n", bad)
	f("X: y\r\n\tz\r\n\r\n", bad)
	f("X: y\rz\r\n\r\n", bad)
	f("X: y\x00\r\n\r\n", bad)
	f("X: y\x7f\r\n\r\n", bad)
	f("X : y\r\n\r\n", bad)
	f("X Y: y\r\n\r\n", bad)
	f(": y\r\n\r\n", bad)
	f("X\r\n\r\n", bad)
	f("X\x80: y\r\n\r\n", bad)
	f("X(: y\r\n\r\n", bad)
	f(strings.Repeat("X: y\r\n", MaxFields-1)+"\r\n", routing.FaultNone)
	f(strings.Repeat("X: y\r\n", MaxFields)+"\r\n", HeadTooLarge)
	f("X: "+strings.Repeat("y", MaxHeadBytes)+"\r\n\r\n", HeadTooLarge)
}

func TestFraming(t *testing.T) {
	f := func(version, fields string, length int64, chunked bool, fault routing.Fault) {
		t.Helper()
		var h Head
		r := h.Check(line("POST", "/", version), []byte("Host: a\r\n"+fields+"\r\n"))
		if r.Fault != fault || fault == "" && (h.Length != length || h.Chunked != chunked) {
			t.Fatalf("%q: got %+v %d %v", fields, r, h.Length, h.Chunked)
		}
	}
	const bad = routing.FaultBadRequest
	f("HTTP/1.1", "", -1, false, "")
	f("HTTP/1.1", "Content-Length: 0\r\n", 0, false, "")
	f("HTTP/1.0", "content-length:12345678901\r\n", 12345678901, false, "")
	f("HTTP/1.1", "Transfer-Encoding: chunked\r\n", -1, true, "")
	f("HTTP/1.1", "transfer-encoding: CHUNKED\r\n", -1, true, "")
	for _, length := range []string{"", "+1", "-1", "1 1", "1,1", "1, 1", "0x1", "1.0", "1e1", "9999999999999999999", "\u0661"} {
		f("HTTP/1.1", "Content-Length: "+length+"\r\n", 0, false, bad)
	}
	f("HTTP/1.1", "Content-Length: 1\r\nContent-Length: 1\r\n", 0, false, bad)
	f("HTTP/1.1", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 0, false, bad)
	f("HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 0, false, bad)
	f("HTTP/1.0", "Transfer-Encoding: chunked\r\n", 0, false, bad)
	for _, coding := range []string{"gzip", "identity", "gzip, chunked", "chunked, chunked", "chunked;x=y", "xchunked", "", "\"chunked\""} {
		f("HTTP/1.1", "Transfer-Encoding: "+coding+"\r\n", 0, false, NotImplemented)
	}
}

func TestWhatConnectionSays(t *testing.T) {
	f := func(version, fields string, closes bool, nominated ...string) {
		t.Helper()
		var h Head
		if r := h.Check(line("GET", "/", version), []byte("Host: a\r\n"+fields+"\r\n")); r != (Refusal{}) {
			t.Fatalf("%q: %+v", fields, r)
		}
		var got []string
		for _, l := range h.Lines {
			if l.Class == Nominated {
				got = append(got, string(l.Name))
			}
		}
		if h.Close != closes || !slices.Equal(got, nominated) {
			t.Fatalf("%q: close=%v nominated=%q", fields, h.Close, got)
		}
	}
	f("HTTP/1.1", "", false)
	f("HTTP/1.1", "Connection: keep-alive\r\n", false)
	f("HTTP/1.1", "connection: x, CLOSE\r\n", true)
	f("HTTP/1.0", "", true)
	f("HTTP/1.0", "Connection: Keep-Alive\r\n", false)
	f("HTTP/1.0", "Connection: keep-alive, close\r\n", true)
	f("HTTP/1.1", "X-A: 1\r\nConnection: x-a,,x-B\r\nX-B: 2\r\nConnection: X-C\r\nX-C: 3\r\nX-D: 4\r\n", false, "X-A", "X-B", "X-C")
	f("HTTP/1.1", "Connection: host, content-length, x-grid-x, x-forwarded-for, forwarded, x-request-id, traceparent\r\nX-Grid-X: 1\r\nForwarded: x\r\n", false)
}

func TestExpectations(t *testing.T) {
	f := func(version, fields string, waits bool, fault routing.Fault) {
		t.Helper()
		var h Head
		r := h.Check(line("POST", "/", version), []byte("Host: a\r\n"+fields+"\r\n"))
		if r.Fault != fault || h.Continue != waits {
			t.Fatalf("%q: got %+v continue=%v", fields, r, h.Continue)
		}
	}
	f("HTTP/1.1", "Content-Length: 1\r\nExpect: 100-continue\r\n", true, "")
	f("HTTP/1.1", "Content-Length: 1\r\nexpect: 100-Continue\r\n", true, "")
	f("HTTP/1.1", "Expect: 100-continue\r\n", false, "")
	f("HTTP/1.1", "Content-Length: 1\r\nExpect: x\r\n", false, ExpectationFailed)
	f("HTTP/1.1", "Expect: 100-continue\r\nExpect: 100-continue\r\n", false, ExpectationFailed)
	f("HTTP/1.0", "Content-Length: 1\r\nExpect: x\r\n", false, "")
}

func TestFieldsAreClassedByTheirNames(t *testing.T) {
	f := func(want Class, names ...string) {
		t.Helper()
		for _, name := range names {
			if got := classify([]byte(name)); got != want {
				t.Errorf("%s: got %d, want %d", name, got, want)
			}
		}
	}
	f(Plain, "Accept", "X", "x-grid", "X-Forwarded", "X-User-Id", "x_user_id", "Hosts", "Content-Type", "Proxy", "Cookie")
	f(Host, "host", "HOST")
	f(Grid, "X-Grid-Tenant", "x-grid-", "X-GRID-ANYTHING-AT-ALL-THAT-IS-LONG")
	f(Grid, "X-Grid-Router")
	f(GridHops, "X-Grid-Hops")
	f(ForwardedPort, "X-Forwarded-Port")
	f(Forwarded, "Forwarded", "X-Real-IP", "x-forwarded-something-long")
	f(HopByHop, "TE", "Trailer", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization")
	f(Upgrade, "Upgrade", "upgrade")
	f(Shadow, "X_Grid_Tenant", "x-grid_anything_at_all_that_is_long", "X_Forwarded_For", "x-forwarded_something_long", "Content_Length", "transfer_encoding", "X_Request_Id")
}

func TestTheViewReadsFields(t *testing.T) {
	var h Head
	check(&h, "Host: a\r\nX-User: 1\r\nx-user:  2 \r\nX-Empty:\r\n\r\n")
	f := func(name, value string, lines int) {
		t.Helper()
		if got, n := h.Field(name); string(got) != value || n != lines {
			t.Errorf("%s: got %q %d", name, got, n)
		}
	}
	f("x-user", "1", 2)
	f("x-empty", "", 1)
	f("host", "a", 1)
	f("x-none", "", 0)
}

func TestAHeadIsForgottenWithTheNextOne(t *testing.T) {
	var h Head
	check(&h, "Host: a.test:80\r\nContent-Length: 5\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n")
	check(&h, "Host: b\r\n\r\n")
	if h.Length != -1 || h.Close || h.Continue || len(h.Lines) != 1 || len(h.Authority.Port) > 0 || string(h.Request.Host) != "b" {
		t.Fatalf("got %+v", h.Request)
	}
	h.Reset()
	if len(h.Lines) != 0 || h.Request.Host != nil || h.HasBody() {
		t.Fatal("something is left after Reset")
	}
}

func TestACheckAllocatesNothing(t *testing.T) {
	var h Head
	fields := []byte("Host: Shop.Acme.Example:8080\r\nUser-Agent: x\r\nAccept: */*\r\nCookie: a=1; b=2\r\nX-User-Id: 10086\r\nConnection: keep-alive\r\n\r\n")
	l := line("GET", "http://shop.acme.example:8080?q=1", "HTTP/1.1")
	if n := testing.AllocsPerRun(100, func() {
		if h.Check(l, fields) != (Refusal{}) {
			t.Fatal("refused")
		}
		h.Field("x-user-id")
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestExplainRunsTheChecks(t *testing.T) {
	table := routingtest.Compile(t, compile.NewCompiler(func(string, []byte) (any, error) { return nil, nil }), compile.Update{Whole: true, Revision: 3})
	f := func(method, url string, headers []string, fault routing.Fault, host, path string) {
		t.Helper()
		e, err := Explain(table, nil, Question{URL: url, Method: method, Headers: headers})
		if err != nil || e.Fault != fault || e.Host != host || e.Path != path || e.Revision != 3 {
			t.Fatalf("%s: got %+v %v", url, e, err)
		}
	}
	f("", "http://Acme.test./a?b", nil, routing.FaultNoTenant, "acme.test", "/a")
	f("GET", "HTTPS://acme.test", nil, routing.FaultNoTenant, "acme.test", "/")
	f("GET", "acme.test:80?x", nil, routing.FaultNoTenant, "acme.test", "/")
	f("GET", "/x", []string{"Host:acme.test"}, routing.FaultNoTenant, "acme.test", "/x")
	f("GET", "http://other.test/x", []string{"host: acme.test"}, routing.FaultNoTenant, "acme.test", "/x")
	f("GET", "http://acme.test/#x", nil, routing.FaultBadRequest, "", "")
	f("GET", "http://u@acme.test/", nil, routing.FaultBadRequest, "", "/")
	f("TRACE", "http://acme.test/", nil, MethodNotAllowed, "acme.test", "/")
	f("GET", "http://acme.test/", []string{"X Y: z"}, routing.FaultBadRequest, "", "/")
	for _, c := range []struct {
		url     string
		headers []string
	}{{"/x", nil}, {"http://a.test/", []string{"no colon"}}} {
		if _, err := Explain(table, nil, Question{URL: c.url, Headers: c.headers}); err == nil {
			t.Fatalf("%q %q: no error", c.url, c.headers)
		}
	}
	if _, err := Explain(nil, nil, Question{URL: "http://a.test/"}); err == nil {
		t.Fatal("no error without a table")
	}
}

// FuzzCheck holds what is let in to what a strict reader may rely on.
func FuzzCheck(f *testing.F) {
	f.Add("GET", "/", "HTTP/1.1", "Host: a\r\n\r\n")
	f.Add("POST", "http://a.test:80/x?y", "HTTP/1.1", "Host: A.test.:80\r\nContent-Length: 5\r\nConnection: x\r\nX: 1\r\n\r\n")
	f.Add("OPTIONS", "*", "HTTP/1.0", "Host: [::1]:443\r\nExpect: x\r\n\r\n")
	f.Add("GET", "/", "HTTP/1.1", "Host: a\r\nTransfer-Encoding: chunked\r\nX_Grid_Y: 1\r\n\r\n")
	f.Add("GET", "//a://b", "HTTP/1.1", "Host: a\r\n X\r\n\r\n")
	f.Fuzz(func(t *testing.T, method, target, version, fields string) {
		var h, again Head
		refusal := h.Check(line(method, target, version), []byte(fields))
		if (refusal.Fault == "") != (refusal.Reason == "") {
			t.Fatalf("fault %q, reason %q", refusal.Fault, refusal.Reason)
		}
		if refusal != (Refusal{}) {
			return
		}
		host := string(h.Request.Host)
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, "@, /%\\?#\r\n\x00") || strings.HasSuffix(host, ".") {
			t.Fatalf("host %q", host)
		}
		if !strings.HasPrefix(string(h.Target), "/") && string(h.Target) != "*" || strings.ContainsAny(string(h.Target), " \r\n\x00#") {
			t.Fatalf("target %q", h.Target)
		}
		if h.Chunked && h.Length >= 0 {
			t.Fatal("two framings")
		}
		// What is let in, printed from its parts, is let in again and means the same.
		var printed strings.Builder
		for _, l := range h.Lines {
			printed.WriteString(string(l.Name) + ": " + string(l.Value) + "\r\n")
			if strings.ContainsAny(string(l.Name), " \t\r\n:") || strings.ContainsAny(string(l.Value), "\r\n\x00") {
				t.Fatalf("line %q %q", l.Name, l.Value)
			}
		}
		printed.WriteString("\r\n")
		if second := again.Check(line(method, target, version), []byte(printed.String())); second != (Refusal{}) && second.Fault != HeadTooLarge {
			t.Fatalf("printed anew it is refused: %+v", second)
		}
		if string(again.Request.Host) != host || again.Length != h.Length || again.Chunked != h.Chunked || again.Close != h.Close {
			t.Fatal("printed anew it means something else")
		}
		// The canonical host is its own canonical form.
		if third := again.Check(line("GET", "/", "HTTP/1.1"), []byte("Host: "+host+"\r\n\r\n")); third != (Refusal{}) || string(again.Request.Host) != host {
			t.Fatalf("the canonical host %q is another's: %q %+v", host, again.Request.Host, third)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	var h Head
	fields := []byte("Host: shop.acme.example\r\nUser-Agent: curl/8\r\nAccept: */*\r\nCookie: a=1; b=2\r\nX-User-Id: 10086\r\nX-Request-Id: abc\r\n\r\n")
	l := line("GET", "/orders/10086?x=1", "HTTP/1.1")
	b.ReportAllocs()
	for b.Loop() {
		h.Check(l, fields)
	}
}

// TestATargetAndAHostNameTheSamePlaceHoweverTheyAreSpelled compares absolute-form targets with Host
// fields: an empty port is none, the scheme's own port is the same as none, and ports are numbers.
func TestATargetAndAHostNameTheSamePlaceHoweverTheyAreSpelled(t *testing.T) {
	same := map[string][][]string{ // by scheme: spellings of one place each
		"http": {
			{"a.test", "a.test:", "a.test:80", "a.test:080", "A.Test.", "A.test.:80", "a.test.:"}, {"a.test:443", "a.test:0443"}, {"a.test:8080", "a.test:08080"},
			{"[::1]", "[::1]:", "[::1]:80", "[0:0::1]:80"}, {"b.test"},
		},
		"https": {{"a.test", "a.test:", "a.test:443", "A.Test.:0443"}, {"a.test:80", "a.test:080"}, {"[::1]", "[::1]:443"}, {"[::1]:80"}},
	}
	for scheme, places := range same {
		for i, place := range places {
			for k, other := range places {
				for _, target := range place {
					for _, host := range other {
						var h Head
						refusal := h.Check(line("GET", scheme+"://"+target+"/x", "HTTP/1.1"), []byte("Host: "+host+"\r\n\r\n"))
						if good := refusal == (Refusal{}); good != (i == k) {
							t.Errorf("%s://%s with Host %s: %+v", scheme, target, host, refusal)
						}
						if string(h.Host()) != host {
							t.Errorf("Host %s: kept as %q", host, h.Host())
						}
					}
				}
			}
		}
	}
}
