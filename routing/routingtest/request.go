package routingtest

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"

	"gridrouter.io/routing"
)

// Fields is a request's header, a name and a value for each line.
type Fields [][2]string

// Field implements [routing.Fields].
func (f Fields) Field(name string) (value []byte, lines int) {
	for _, line := range f {
		if strings.EqualFold(line[0], name) {
			if lines++; lines == 1 {
				value = []byte(line[1])
			}
		}
	}
	return value, lines
}

// Line implements [routing.Fields].
func (f Fields) Line(name string, n int) []byte {
	for _, line := range f {
		if strings.EqualFold(line[0], name) {
			if n == 0 {
				return []byte(line[1])
			}
			n--
		}
	}
	return nil
}

// Request reads "GET shop.acme.example/x?y=1", then header lines; a line "@1.2.3.4" is
// the client's address.
func Request(t *testing.T, text string) *routing.Request {
	t.Helper()
	r := &routing.Request{ClientIP: netip.MustParseAddr("192.0.2.1")}
	var header Fields
	lines := bufio.NewScanner(strings.NewReader(strings.TrimSpace(text)))
	for first := true; lines.Scan(); first = false {
		line := lines.Text()
		switch {
		case first:
			method, target, ok := strings.Cut(line, " ")
			if !ok {
				t.Fatalf("%q is no request", line)
			}
			host, path := target, ""
			if at := strings.IndexByte(target, '/'); at >= 0 {
				host, path = target[:at], target[at:]
			}
			path, query, _ := strings.Cut(path, "?")
			r.Method, r.Host, r.Path, r.Query = []byte(method), []byte(host), []byte(path), []byte(query)
		case strings.HasPrefix(line, "@"):
			r.ClientIP = netip.MustParseAddr(line[1:])
		default:
			name, value, _ := strings.Cut(line, ": ")
			header = append(header, [2]string{name, strings.TrimSpace(value)})
		}
	}
	r.Fields = header
	return r
}

// Outcome returns the name of the deck that serves, or the code of the fault.
func Outcome(d routing.Decision) string {
	if d.Fault != routing.FaultNone {
		return string(d.Fault)
	}
	return d.Deck.Name
}
