package routing

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
)

// header is a request's header for tests: lower-case names in pairs with values.
type header []string

func (h header) Field(name string) (value []byte, lines int) {
	for i := 0; i+1 < len(h); i += 2 {
		if h[i] != name {
			continue
		}
		if lines == 0 {
			value = []byte(h[i+1])
		}
		lines++
	}
	return value, lines
}

func (h header) Line(name string, n int) []byte {
	for i := 0; i+1 < len(h); i += 2 {
		if h[i] == name {
			if n == 0 {
				return []byte(h[i+1])
			}
			n--
		}
	}
	return nil
}

func TestPathsAreComparedInCanonicalForm(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		for _, buf := range [][]byte{nil, make([]byte, 0, 64)} {
			got, ok := canonicalPath(buf, []byte(path), false)
			if !ok {
				got = []byte("refused")
			}
			if string(got) != want {
				t.Errorf("%q -> %q, want %q", path, got, want)
			}
		}
	}
	f("/", "/")
	f("/a/b", "/a/b")
	f("*", "*")
	f("", "")
	f("/%61/%7Eb", "/a/~b")
	f("/%3a%3A", "/%3A%3A")
	f("/a/./b", "/a/b")
	f("/a/../b", "/b")
	f("/a/b/..", "/a/")
	f("/a/.", "/a/")
	f("/..", "/")
	f("/../../a", "/a")
	f("/a//b", "/a//b")
	f("/a/b//../c", "refused") // who merges the slashes first takes /b away
	f("/a//../b/x", "refused")
	f("/a//./../b", "refused")
	f("/a/b/../..//c", "//c")
	f("/a//b/../c", "/a//c")
	f("//..", "refused")
	f("/a//..//b", "refused")
	f("/.well-known/x", "/.well-known/x")
	f("/...", "/...")
	f("/a%2eb", "/a.b")
	f("/%2e%2e%2e", "/...")
	f("/%25%32%66", "/%252f") // decoded once: %252f is no slash
	f("/a%2Fb", "refused")
	f("/a%2fb", "refused")
	f("/%2e", "refused")
	f("/%2E%2e/x", "refused")
	f("/.%2e/x", "refused")
	f("/x/%2e./y", "refused")
	f("/a%00", "refused")
	f("/a\\b", "refused")
	f("/a%5cb", "refused")
	f("/%", "refused")
	f("/%4", "refused")
	f("/%zz", "refused")
}

func TestPrefixesEndOnSegmentBoundaries(t *testing.T) {
	f := func(path, prefix string, want bool) {
		t.Helper()
		if got := hasPathPrefix([]byte(path), prefix); got != want {
			t.Errorf("%q under %q: %v", path, prefix, got)
		}
	}
	f("/admin", "/admin", true)
	f("/admin/", "/admin", true)
	f("/admin/x", "/admin", true)
	f("/administer", "/admin", false)
	f("/", "/admin", false)
	f("/admin", "/admin/", false)
	f("/admin/x", "/admin/", true)
	f("/x", "/", true)
	f("*", "/", false)
}

// read reads a key the way rules do and says how it went.
func read(t *testing.T, src KeySource, r *Request) string {
	t.Helper()
	if src.Path > 0 {
		path, ok := canonicalPath(nil, r.Path, false)
		if !ok {
			return "refused"
		}
		r.path = path
	}
	key := compileKey(&src)
	value, result := r.readKey(&key)
	return map[keyResult]string{keyFound: "=" + string(value), keyAbsent: "absent", keyAmbiguous: "ambiguous", keyTooLong: "too long"}[result]
}

func TestKeysFromHeadersAreExactBytes(t *testing.T) {
	f := func(h header, want string) {
		t.Helper()
		if got := read(t, KeySource{Header: "x-user-id"}, &Request{Fields: h}); got != want {
			t.Errorf("%q -> %s, want %s", h, got, want)
		}
	}
	f(nil, "absent")
	f(header{"x-user-id", ""}, "absent")
	f(header{"x-user-id", "7"}, "=7")
	f(header{"x-user-id", "a B\tc"}, "=a B\tc")
	f(header{"x-user-id", "7", "x-user-id", "7"}, "ambiguous")
	f(header{"x-user-id", strings.Repeat("k", 512)}, "="+strings.Repeat("k", 512))
	f(header{"x-user-id", strings.Repeat("k", 513)}, "too long")
}

func TestKeysFromCookies(t *testing.T) {
	f := func(h header, want string) {
		t.Helper()
		if got := read(t, KeySource{Cookie: "uid"}, &Request{Fields: h}); got != want {
			t.Errorf("%q -> %s, want %s", h, got, want)
		}
	}
	f(header{"cookie", "uid=7"}, "=7")
	f(header{"cookie", "a=b; uid=7; c"}, "=7")
	f(header{"cookie", "xuid=1; uid2=2;UID=3"}, "absent")
	f(header{"cookie", "uid=\"7\""}, "=\"7\"")
	f(header{"cookie", "uid=a=b"}, "=a=b")
	f(header{"cookie", "uid="}, "absent")
	f(header{"cookie", "uid"}, "absent")
	f(header{"cookie", "uid=1; uid=1"}, "ambiguous")
	f(header{"cookie", "uid=1", "cookie", "x=y"}, "=1")
	f(header{"cookie", "uid=1", "cookie", "x=y; uid=1"}, "ambiguous")
}

func TestKeysFromQueriesAreDecodedOnce(t *testing.T) {
	f := func(query, want string) {
		t.Helper()
		if got := read(t, KeySource{Query: "u"}, &Request{Query: []byte(query)}); got != want {
			t.Errorf("%q -> %s, want %s", query, got, want)
		}
	}
	f("", "absent")
	f("u=7", "=7")
	f("a=1&u=x%20y&b", "=x y")
	f("u=a+b", "=a+b")
	f("u=%2541", "=%41")
	f("%75=7", "=7")
	f("u=1&u=2", "ambiguous")
	f("u=1&%75=2", "ambiguous")
	f("u", "absent")
	f("u=", "absent")
	f("u=%4", "ambiguous")
	f("u=%gg", "ambiguous")
	f("%zz=1&u=2", "=2")
	f("U=1", "absent")
	f("u=1;u=2", "=1;u=2")
	f("u="+strings.Repeat("%41", 513), "too long")
}

func TestKeysFromPathSegments(t *testing.T) {
	f := func(n int, path, want string) {
		t.Helper()
		if got := read(t, KeySource{Path: n}, &Request{Path: []byte(path)}); got != want {
			t.Errorf("segment %d of %q -> %s, want %s", n, path, got, want)
		}
	}
	f(1, "/users/7", "=users")
	f(2, "/users/7", "=7")
	f(3, "/users/7", "absent")
	f(2, "/users/", "absent")
	f(2, "/users//x", "absent")
	f(2, "/users/../teams/9", "=9")
	f(2, "/users/caf%C3%A9", "=café")
	f(2, "/users/%2541", "=%41")
	f(2, "/users/a+b", "=a+b")
	f(2, "/users/a%2fb", "refused")
	f(1, "*", "absent")
}

func TestKeysFromAddressesAndHosts(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		if got := read(t, KeySource{ClientIP: true}, &Request{ClientIP: netip.MustParseAddr(address)}); got != want {
			t.Errorf("%s -> %s, want %s", address, got, want)
		}
	}
	f("192.0.2.7", "=192.0.2.7")
	f("::ffff:192.0.2.7", "=192.0.2.7")
	f("2001:db8:0:0::1", "=2001:db8::1")
	f("fe80::1%eth0", "=fe80::1")
	if got := read(t, KeySource{ClientIP: true}, &Request{}); got != "absent" {
		t.Error(got)
	}
	if got := read(t, KeySource{Host: true}, &Request{Host: []byte("shop.acme.example")}); got != "=shop.acme.example" {
		t.Error(got)
	}
}

func bearer(payload string) header {
	return header{"authorization", "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"}
}

func TestKeysFromClaims(t *testing.T) {
	f := func(h header, want string) {
		t.Helper()
		if got := read(t, KeySource{Claim: "sub"}, &Request{Fields: h}); got != want {
			t.Errorf("%q -> %s, want %s", h, got, want)
		}
	}
	f(bearer(`{"sub":"u-7"}`), "=u-7")
	f(bearer(` { "a" : [1,{"sub":"no"}], "sub" : 1234 , "b":null } `), "=1234")
	f(bearer(`{"sub":-7}`), "=-7")
	f(bearer(`{"sub":"\u0061\"\\\/\n\ud83d\ude00"}`), "=a\"\\/\n😀")
	f(bearer(`{"s\u0075b":"u-7"}`), "=u-7")
	f(bearer(`{"sub":1.5}`), "absent")
	f(bearer(`{"sub":1e3}`), "absent")
	f(bearer(`{"sub":true}`), "absent")
	f(bearer(`{"sub":["x"]}`), "absent")
	f(bearer(`{"sub":{"x":1}}`), "absent")
	f(bearer(`{"sub":null}`), "absent")
	f(bearer(`{"sub":""}`), "absent")
	f(bearer(`{"other":"x"}`), "absent")
	f(bearer(`{"sub":"a","sub":"a"}`), "ambiguous")
	f(bearer(`{"sub":{},"s\u0075b":"a"}`), "ambiguous")
	f(bearer(`{"sub":"a"`), "absent")
	f(bearer(`{"sub":"a"} x`), "absent")
	f(bearer(`{"sub":"a",}`), "absent")
	f(bearer(`{"sub":01}`), "absent")
	f(bearer(`{"sub":"\ud83d"}`), "absent")
	f(bearer(`{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,"sub":"a"}`), "absent")
	f(bearer(`["sub"]`), "absent")
	f(bearer(``), "absent")
	f(bearer(`{"sub":"`+strings.Repeat("x", 513)+`"}`), "too long")
	f(header{"authorization", "bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"u"}`)) + "."}, "=u")
	f(header{"authorization", "Basic e30.e30.e30"}, "absent")
	f(header{"authorization", "Bearer e30.e30"}, "absent")
	f(header{"authorization", "Bearer e30.e30.e30.e30"}, "absent")
	f(header{"authorization", "Bearer e30.!!.e30"}, "absent")
	f(append(bearer(`{"sub":"a"}`), bearer(`{"sub":"a"}`)...), "ambiguous")
}

func TestDecimalKeysHaveNoSignAndNoLeadingZero(t *testing.T) {
	f := func(key string, want int64, ok bool) {
		t.Helper()
		if got, gotOK := decimalKey([]byte(key)); gotOK != ok || ok && got != want {
			t.Errorf("%q -> %d %v", key, got, gotOK)
		}
	}
	f("0", 0, true)
	f("7", 7, true)
	f("9223372036854775807", 9223372036854775807, true)
	f("9223372036854775808", 0, false)
	f("99999999999999999999", 0, false)
	f("", 0, false)
	f("00", 0, false)
	f("07", 0, false)
	f("+7", 0, false)
	f("-7", 0, false)
	f("7a", 0, false)
	f(" 7", 0, false)
}

func TestPinKeysHaveOneSpelling(t *testing.T) {
	f := func(key, escaped string) {
		t.Helper()
		if got := EscapeKey(key); got != escaped {
			t.Errorf("%q -> %q, want %q", key, got, escaped)
		}
		if got, err := UnescapeKey(escaped); err != nil || got != key {
			t.Errorf("%q -> %q, %v", escaped, got, err)
		}
	}
	f("10086", "10086")
	f("a-b.c_d~", "a-b.c_d~")
	f("a/b c", "a%2Fb%20c")
	f("\x00\xff", "%00%FF")
	f("é", "%C3%A9")
	refused := func(escaped string) {
		t.Helper()
		if key, err := UnescapeKey(escaped); err == nil {
			t.Errorf("%q was taken as %q", escaped, key)
		}
	}
	refused("")
	refused("a%2fb")
	refused("%61")
	refused("a b")
	refused("a%")
	refused("a%4")
	refused("a%zz")
	refused("a/b")
	refused(strings.Repeat("x", 513))
}

func FuzzCanonicalPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e", "/a%2eb", "/%25", "*", "//..//x", "/a/b/..", "\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		first, ok := canonicalPath(nil, []byte(path), false)
		if !ok {
			return
		}
		again, ok := canonicalPath(nil, first, false)
		if !ok || string(again) != string(first) {
			t.Fatalf("%q -> %q -> %q", path, first, again)
		}
		for segment := range strings.SplitSeq(string(first), "/") {
			if path != "" && path[0] == '/' && (segment == "." || segment == "..") {
				t.Fatalf("%q -> %q keeps a dot segment", path, first)
			}
		}
	})
}

func FuzzPinKey(f *testing.F) {
	for _, seed := range []string{"10086", "a%2Fb", "%", "%2f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := UnescapeKey(text); err == nil && EscapeKey(key) != text {
			t.Fatalf("%q -> %q -> %q", text, key, EscapeKey(key))
		}
		if text != "" && len(text) <= MaxKeyBytes {
			if key, err := UnescapeKey(EscapeKey(text)); err != nil || key != text {
				t.Fatalf("%q does not come back: %q, %v", text, key, err)
			}
		}
	})
}
