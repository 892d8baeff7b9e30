package proxyproto

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/pires/go-proxyproto"
)

// version2 is a header of version 2: command, family, and what follows.
func version2(command, family byte, rest string) string {
	return string(signature2) + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const (
	addresses4 = "\xcb\x00\x71\x07\xc0\x00\x02\x09\x04\xd2\x00\x50" // 203.0.113.7:1234 to 192.0.2.9:80
	addresses6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09" + "\x04\xd2\x00\x50"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 192.0.2.9 1234 80\r\nGET"))
	f.Add([]byte("PROXY UNKNOWN x\r\n"))
	f.Add([]byte(version2(0x21, 0x11, addresses4)))
	f.Add([]byte(version2(0x21, 0x21, addresses6+"tail")))
	f.Add([]byte(version2(0x20, 0x77, "x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		header, err := Parse(data)
		if err != nil {
			return
		}
		if header.Length < 0 || header.Length > max(maxVersion1, headVersion2+36) || header.Length > len(data) || header.Skip < 0 || header.Skip > 0xffff {
			t.Fatalf("%q: %+v", data, header)
		}
		if header.Source.Is4In6() || header.Length == 0 && header.Source.IsValid() {
			t.Fatalf("%q: %+v", data, header)
		}
		for cut := range header.Length { // no shorter piece is taken for the whole
			if short, err := Parse(data[:cut]); err != nil || short.Length != 0 {
				t.Fatalf("%q cut to %d: %+v %v", data, cut, short, err)
			}
		}
		agrees(t, data, header)
	})
}

// agrees compares with another reader of the protocol, where that reads the header too.
func agrees(t *testing.T, data []byte, header Header) {
	t.Helper()
	other, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(data)))
	if err != nil || other.Command.IsLocal() || !header.Source.IsValid() {
		return
	}
	source, ok := other.SourceAddr.(*net.TCPAddr)
	if !ok {
		t.Fatalf("%q: %v, another reads %v", data, header.Source, other.SourceAddr)
	}
	if address, _ := netip.AddrFromSlice(source.IP); address.Unmap() != header.Source {
		t.Fatalf("%q: %v, another reads %v", data, header.Source, address)
	}
}

func TestAHeaderSaysWhoTheClientIsAndWhereTheRequestBegins(t *testing.T) {
	f := func(received string, want Header) {
		t.Helper()
		if got, err := Parse([]byte(received)); err != nil || got != want {
			t.Errorf("%q: got %+v %v, want %+v", received, got, err, want)
		}
	}
	client4, client6 := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")
	const line = "PROXY TCP4 203.0.113.7 192.0.2.9 1234 80\r\n"
	f(line+"GET", Header{Length: len(line), Source: client4})
	f(line[:len(line)-1], Header{}) // more has to come
	f("PROXY UNKNOWN x\r\nGET", Header{Length: len("PROXY UNKNOWN x\r\n")})
	f(version2(0x21, 0x11, addresses4+"tail")+"GET", Header{Length: headVersion2 + len(addresses4), Skip: len("tail"), Source: client4})
	f(version2(0x21, 0x21, addresses6), Header{Length: headVersion2 + len(addresses6), Source: client6})
	f(version2(0x20, 0x11, addresses4), Header{Length: headVersion2, Skip: len(addresses4)}) // LOCAL: the proxy speaks for itself
	f("", Header{})
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	for _, received := range []string{"GET / HTTP/1.1\r\n", "PROXY TCP4 x y 1 2\r\n", "PROXY UNKNOWN\n", version2(0x22, 0x11, addresses4), version2(0x21, 0x11, "short")} {
		if got, err := Parse([]byte(received)); err == nil {
			t.Errorf("%q: got %+v", received, got)
		}
	}
}
