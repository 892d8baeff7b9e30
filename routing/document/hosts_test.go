package document_test

import (
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

func TestHostsBecomeCanonical(t *testing.T) {
	f := func(host, want string) {
		t.Helper()
		got, err := document.CanonicalHost(host)
		if err != nil || got != want {
			t.Errorf("CanonicalHost(%q) = %q, %v; want %q", host, got, err, want)
		}
	}
	f("shop.acme.example", "shop.acme.example")
	f("Shop.ACME.Example", "shop.acme.example")
	f("shop.acme.example.", "shop.acme.example")
	f("*.Shop.Acme.Example.", "*.shop.acme.example")
	f("localhost", "localhost")
	f("_sip.acme.example", "_sip.acme.example")
	f("_SIP.acme.example", "_sip.acme.example")
	f("r3---sn-abc.example", "r3---sn-abc.example")
	f("R3---sn-abc.example", "r3---sn-abc.example")
	f("bücher.example", "xn--bcher-kva.example")
	f("BÜCHER.example", "xn--bcher-kva.example")
	f("bu\u0308cher.example", "xn--bcher-kva.example")
	f("XN--bcher-KVA.example", "xn--bcher-kva.example")
	f("faß.example", "xn--fa-hia.example")
	f("例え。テスト", "xn--r8jz45g.xn--zckzah")
	f("例え。テスト。", "xn--r8jz45g.xn--zckzah")
	f("ｓｈｏｐ.example", "shop.example")
	f("127.0.0.1", "127.0.0.1")
	f("[::1]", "[::1]")
	f("[2001:DB8:0:0::1]", "[2001:db8::1]")
	f(strings.Repeat("a", 63)+".example", strings.Repeat("a", 63)+".example")
}

func TestWhatIsNoHostIsRefused(t *testing.T) {
	f := func(host, mend string) {
		t.Helper()
		got, err := document.CanonicalHost(host)
		if err == nil || got != "" {
			t.Errorf("CanonicalHost(%q) = %q, %v; want an error alone", host, got, err)
			return
		}
		if !strings.Contains(err.Error(), mend) {
			t.Errorf("CanonicalHost(%q): %q does not say %q", host, err, mend)
		}
	}
	f("", "is empty")
	f(".", "1 to 253")
	f("..", "label of 0")
	f("**", "'*'")
	f("*.", "is empty")
	f("*.*.example", "'*'")
	f("a.example:80", "has a port")
	f("*.a.example:80", "has a port")
	f("http://a.example", "slash")
	f("a.example/x", "slash")
	f("a b.example", "' '")
	f("a..example", "label of 0")
	f("a.example..", "label of 0")
	f("-a.example", "begins or ends")
	f("a-.example", "begins or ends")
	f("xn--a.example", "IDNA")
	f("xn--bcher-kva--.example", "IDNA")
	f("xn--abc-.example", "IDNA")
	f("\u200d.example", "IDNA")
	f("a\u0000b.example", "character")
	f("\u0338a.example", "IDNA")
	f("user@a.example", "'@'")
	f("10.1", "not an address")
	f("010.0.0.1", "not an address")
	f("*.10.0.0.1", "wildcard before an address")
	f("2001:db8::1", "brackets")
	f("[2001:db8::1", "brackets")
	f("[2001:db8::1]:80", "brackets")
	f("[fe80::1%eth0]", "zone")
	f("[::ffff:10.0.0.1]", "not an address")
	f("[10.0.0.1]", "brackets")
	f(strings.Repeat("a", 64)+".example", "64")
	f(strings.Repeat("a.", 127)+"a", "253")
	f(strings.Repeat("ü", 60)+".example", "label of")
}

func FuzzCanonicalHost(f *testing.F) {
	for _, seed := range []string{
		"shop.acme.example", "*.Shop.acme.example.", "bücher.example", "xn--bcher-kva.example", "例え。テスト。",
		"[2001:DB8::1]", "127.0.0.1", "１２７.0.0.1", "a.example:80", "\u200d", "xn--", "*.", "*", "＊", "＊.", "*.＊", "＊.a.example", "ß.ẞ", "\u0660.example", "א1.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		canonical, err := document.CanonicalHost(host)
		if err != nil {
			if canonical != "" {
				t.Fatalf("%q gives %q beside an error", host, canonical)
			}
			return
		}
		if canonical == routing.CatchAll && host != routing.CatchAll {
			t.Fatalf("%q is taken for all hosts", host)
		}
		if err := routing.CheckHost(canonical, true); err != nil {
			t.Fatalf("%q gives %q, which CheckHost refuses: %v", host, canonical, err)
		}
		if again, err := document.CanonicalHost(canonical); err != nil || again != canonical {
			t.Fatalf("%q gives %q, which gives %q, %v", host, canonical, again, err)
		}
		for _, same := range []string{strings.ToUpper(canonical), canonical + "."} {
			if canonical[0] == '[' || canonical == routing.CatchAll {
				continue
			}
			if again, err := document.CanonicalHost(same); err != nil || again != canonical {
				t.Fatalf("%q gives %q, %v; want %q", same, again, err, canonical)
			}
		}
	})
}
