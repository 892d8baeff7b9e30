package forwarding

import (
	"net/netip"
	"strings"
	"testing"

	"gridrouter.io/router/admission"
)

var line = admission.RequestLine{Method: []byte("GET"), Target: []byte("/"), Version: []byte("HTTP/1.1")}

func TestTheClientIsTheLastOneThatNoTrustedProxyIs(t *testing.T) {
	proxies := Proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	f := func(want string, headers ...string) {
		t.Helper()
		var head admission.Head
		var id Identity
		if refusal := head.Check(line, []byte("Host: a\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\n")); refusal.Fault != "" {
			t.Fatalf("%q: %v", headers, refusal)
		}
		id.Read(&head, Peer{Address: netip.MustParseAddr("127.0.0.1"), Trusted: true}, proxies)
		if id.Client.String() != want {
			t.Errorf("%q: got %s, want %s", headers, id.Client, want)
		}
	}
	f("127.0.0.1", "X-A: 1")
	f("198.51.100.7", "X-Forwarded-For: 192.0.2.1, 198.51.100.7")
	f("198.51.100.7", "X-Forwarded-For: 192.0.2.1, 198.51.100.7, 10.0.0.1")
	f("198.51.100.7", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 10.0.0.1")
	f("10.0.0.1", "X-Forwarded-For: 10.0.0.1, 10.0.0.2")
	f("10.0.0.2", "X-Forwarded-For: garbage, 10.0.0.2")
	f("192.0.2.1", "X-Forwarded-For: 192.0.2.1, ") // empty elements are none
	f("192.0.2.1", "X-Forwarded-For: ,, 192.0.2.1,, 10.0.0.1 ,", "X-Forwarded-For:", "X-Forwarded-For: , ,")
	f("127.0.0.1", "X-Forwarded-For: , ,")
	f("198.51.100.7", "X-Forwarded-For: ,", "Forwarded: for=198.51.100.7,, ,")
	f("198.51.100.7", `Forwarded: for=192.0.2.1, for=198.51.100.7;by="a,b;for=203.0.113.1";host="x\",y"`)
	f("127.0.0.1", `Forwarded: for=192.0.2.1, for="198.51.100.7`) // a quote that does not end
	f("10.0.0.1", "X-Forwarded-For: 192.0.2.1"+strings.Repeat(", 10.0.0.1", maxChain))
	f("192.0.2.1", "X-Forwarded-For: 192.0.2.1"+strings.Repeat(", 10.0.0.1", maxChain-1))
	f("198.51.100.7", "X-Forwarded-For: 198.51.100.7:4711")
	f("2001:db8::1", "X-Forwarded-For: [2001:db8::1]:4711")
	f("2001:db8::1", "X-Forwarded-For: 2001:db8::1")
	f("198.51.100.7", "X-Forwarded-For: ::ffff:198.51.100.7")
	f("198.51.100.7", `Forwarded: for=192.0.2.1, proto=http;For="198.51.100.7:99", for=10.0.0.1`)
	f("2001:db8::1", `Forwarded: for="[2001:db8::1]"`)
	f("127.0.0.1", `Forwarded: for=_hidden`)
	f("192.0.2.1", "Forwarded: for=198.51.100.7", "X-Forwarded-For: 192.0.2.1")
}

// FuzzForwarding reads chains of any bytes, and holds what is written to what may be written.
func FuzzForwarding(f *testing.F) {
	f.Add("1.2.3.4, 10.0.0.1,", "for=1.2.3.4;proto=https, for=10.0.0.1", "https,http", "a.test, b.test:1")
	f.Add("", `for="[::1]:1";host="a\",b", for=_x`, "wss", "")
	f.Add(",,", "for=", "", "a")
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	peer := Peer{Address: netip.MustParseAddr("10.0.0.9"), Trusted: true}
	f.Fuzz(func(t *testing.T, chain, element, proto, host string) {
		lines := "Host: a\r\nX-Forwarded-For: " + chain + "\r\nForwarded: " + element + "\r\nX-Forwarded-Proto: " + proto + "\r\nX-Forwarded-Host: " + host + "\r\n\r\n"
		var head admission.Head
		if refusal := head.Check(line, []byte(lines)); refusal.Fault != "" {
			return
		}
		var id Identity
		if id.Read(&head, peer, proxies); !id.Client.IsValid() || id.Client.Is4In6() {
			t.Fatalf("client %v", id.Client)
		}
		c := &id.chain
		if c.proto != nil && !isScheme(c.proto) || c.host != nil && !isHost(c.host) || c.port != nil && !admission.IsPort(c.port) {
			t.Fatalf("%q %q %q", c.proto, c.host, c.port)
		}
		if written := c.appendTo(nil, &head); strings.ContainsAny(string(written), "\r\n\x00") {
			t.Fatalf("%q", written)
		}
	})
}
