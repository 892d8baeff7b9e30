package router

import (
	"io"
	"strings"
	"testing"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/wire"
)

// proxy2 is a header of version 2: command, family, and what follows.
func proxy2(command, family byte, rest string) string {
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const (
	longestProxy1 = 107 // bytes of a header of version 1

	addresses4 = "\xcb\x00\x71\x07\xc0\x00\x02\x09\x04\xd2\x00\x50" // 203.0.113.7:1234 to 192.0.2.9:80
	addresses6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09" + "\x04\xd2\x00\x50"
)

// TestEveryKindOfProxyHeader reads each header in pieces and at once, with a request behind
// it, over a real connection.
func TestEveryKindOfProxyHeader(t *testing.T) {
	g, heads := proxied(t, "127.0.0.1/32")
	const itself = "127.0.0.1"
	mapped := strings.Repeat("\x00", 10) + "\xff\xff\xcb\x00\x71\x07" + strings.Repeat("\x00", 16) + "\x04\xd2\x00\x50"
	full := func(begin string) string { return begin + strings.Repeat("\xff", 0xffff-len(begin)) }
	f := func(header, want string) {
		t.Helper()
		for _, step := range []int{1 << 20, 7, 1} {
			if step < 1000 && len(header) > 1000 {
				step *= 1000
			}
			w := g.dial()
			for rest := header + get("/"); len(rest) > 0; {
				n := min(step, len(rest))
				w.send(rest[:n])
				rest = rest[n:]
			}
			if want == "" {
				if rest, _ := io.ReadAll(w.in); len(rest) > 0 {
					t.Errorf("%.60q got %q", header, rest)
				}
				_ = w.Close()
				return
			}
			wantStatus(t, w.reply("GET"), 200, "")
			if head := <-heads; !strings.Contains(head, "\r\nX-Forwarded-For: "+want+"\r\n") {
				t.Errorf("%.60q: the deck got %q, want %s", header, head, want)
			}
			_ = w.Close()
		}
	}
	f(proxy2(0x21, 0x11, addresses4), "203.0.113.7")
	f(proxy2(0x21, 0x11, addresses4+"\x04\x00\x03abc"), "203.0.113.7")
	f(proxy2(0x21, 0x11, full(addresses4)), "203.0.113.7")
	f(proxy2(0x21, 0x21, addresses6), "2001:db8::7")
	f(proxy2(0x21, 0x21, full(addresses6)), "2001:db8::7")
	f(proxy2(0x21, 0x21, mapped), "203.0.113.7")
	f(proxy2(0x21, 0x00, ""), itself)
	f(proxy2(0x21, 0x00, full("")), itself)
	f(proxy2(0x21, 0x12, addresses4), itself)
	f(proxy2(0x21, 0x22, addresses6), itself)
	f(proxy2(0x21, 0x31, strings.Repeat("/", 216)), itself)
	f(proxy2(0x21, 0x32, strings.Repeat("/", 216)+"tail"), itself)
	for _, family := range []byte{0x00, 0x11, 0x12, 0x21, 0x31, 0x77, 0xff} { // LOCAL: whatever follows
		f(proxy2(0x20, family, ""), itself)
		f(proxy2(0x20, family, "x"), itself)
		f(proxy2(0x20, family, full(addresses4)), itself)
	}
	f("PROXY UNKNOWN\r\n", itself)
	f("PROXY UNKNOWN ffff:f:f \x00\xff whatever 99999\r\n", itself)
	f("PROXY UNKNOWN "+strings.Repeat("x", longestProxy1-len("PROXY UNKNOWN \r\n"))+"\r\n", itself)
	// Malformed: the connection is closed.
	f(proxy2(0x21, 0x11, addresses4[:11]), "")
	f(proxy2(0x21, 0x11, ""), "")
	f(proxy2(0x21, 0x21, addresses6[:35]), "")
	f(proxy2(0x21, 0x12, addresses4[:11]), "")
	f(proxy2(0x21, 0x31, strings.Repeat("/", 215)), "")
	for _, command := range []byte{0x00, 0x01, 0x11, 0x22, 0x2f, 0x30, 0xff} {
		f(proxy2(command, 0x11, addresses4), "")
	}
	for _, family := range []byte{0x01, 0x10, 0x13, 0x20, 0x30, 0x33, 0x41, 0xff} {
		f(proxy2(0x21, family, strings.Repeat("x", 300)), "")
	}
	f("PROXY UNKNOWN\n", "")
	f("PROXY UNKNOWNx\r\n", "")
	f("PROXY UNKNOWN "+strings.Repeat("x", longestProxy1)+"\r\n", "")
	f("PROXY TCP4 203.0.113.7 192.0.2.9 1234 80\n", "")
	f("proxy TCP4 203.0.113.7 192.0.2.9 1234 80\r\n", "")
	f("PROXY TCP4 2001:db8::7 2001:db8::9 1234 80\r\n", "")
}

func TestALongProxyHeaderIsNotHeld(t *testing.T) {
	g, _ := proxied(t, "127.0.0.1/32")
	w := g.dial()
	defer w.Close()
	header := proxy2(0x20, 0x00, strings.Repeat("x", 0xffff))
	w.send(header[:len(header)-1])
	testkit.Eventually(t, "it is received", func() bool {
		total := uint64(0)
		for i := range g.router.counters.lanes {
			total += g.router.counters.lanes[i].receivedBytes.Load()
		}
		return total == uint64(len(header)-1)
	})
	g.router.clients.each(func(c *client) {
		if held := len(c.buf.Data()); held > wire.HeadBytes {
			t.Errorf("%d bytes are held", held)
		}
	})
	w.send(header[len(header)-1:] + get("/"))
	wantStatus(t, w.reply("GET"), 200, "")
}
