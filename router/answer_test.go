package router

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"gridrouter.io/router/admission"
)

func TestHeadsOfAnswers(t *testing.T) {
	f := func(head string, status int, reason string, length int64, chunked, closes bool) {
		t.Helper()
		var a answer
		if err := a.parse([]byte(head)); err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		if a.status != status || string(a.reason) != reason || a.length != length || a.chunked != chunked || a.closes != closes {
			t.Fatalf("%q: got %+v", head, a)
		}
	}
	f("HTTP/1.1 200 OK\r\n\r\n", 200, "OK", -1, false, false)
	f("HTTP/1.1 200\r\n\r\n", 200, "", -1, false, false)
	f("HTTP/1.1 599 \r\nContent-Length: 007\r\n\r\n", 599, "", 7, false, false)
	f("HTTP/1.0 200 OK\r\n\r\n", 200, "OK", -1, false, true)
	f("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", 200, "OK", -1, false, false)
	f("HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\nConnection: a, close\r\n\r\n", 200, "OK", -1, true, true)
	f("HTTP/1.1 100 Continue\r\n\r\n", 100, "Continue", -1, false, false)
}

func TestTheEndOfAHeadIsFoundWhereverItIsCut(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
	const all = head + "body\r\n\r\n"
	for cut := range len(all) {
		searched, end := 0, 0
		var err error
		for _, have := range []int{cut, len(all)} {
			if end, searched, err = answerEnd([]byte(all)[:have], searched); err != nil {
				t.Fatal(err)
			}
			if end != 0 {
				break
			}
		}
		if end != len(head) {
			t.Fatalf("cut at %d: the head ends at %d", cut, end)
		}
	}
	for _, bad := range []string{"HTTP/1.1 200 OK\n", "\n", "A\r\nB\n"} {
		if _, _, err := answerEnd([]byte(bad), 0); !errors.Is(err, errHeadBareLF) {
			t.Fatalf("%q: %v", bad, err)
		}
	}
	if _, _, err := answerEnd(bytes.Repeat([]byte("a"), maxAnswerHead), 0); !errors.Is(err, errHeadTooLarge) {
		t.Fatal(err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close, x\r\nX: y\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.0 304\r\nX-Grid-Fault: a\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 099 \r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\n folded\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		end, _, err := answerEnd(data, 0)
		if err != nil || end == 0 {
			return
		}
		var a answer
		if a.parse(data[:end]) != nil {
			return
		}
		if a.status < 100 || a.status > 599 || a.chunked && a.length >= 0 || a.length < -1 {
			t.Fatalf("%q became %+v", data[:end], a)
		}
		fields := a.appendFields(nil)
		for scan := (fieldScanner{rest: fields}); scan.next(); {
			if !admission.IsToken(scan.name) || !admission.IsValue(scan.value) {
				t.Fatalf("%q passes on %q", data[:end], scan.raw)
			}
			if name := strings.ToLower(string(scan.name)); strings.HasPrefix(name, "x-grid-") || name == "transfer-encoding" || name == "connection" {
				t.Fatalf("%q passes on %q", data[:end], scan.raw)
			}
		}
		if bytes.Contains(fields, []byte("\r\n\r\n")) || bytes.Count(fields, []byte("\n")) != bytes.Count(fields, []byte("\r\n")) {
			t.Fatalf("%q splits the answer: %q", data[:end], fields)
		}
	})
}

// TestAnAnswer426KeepsItsUpgrade holds the one answer whose Upgrade is for the client.
func TestAnAnswer426KeepsItsUpgrade(t *testing.T) {
	f := func(answer string, want ...string) {
		t.Helper()
		g := newGrid(t, nil)
		g.one(answering(t, answer).addr)
		r := g.ask(get("/"))
		if got := r.Header.Values("Upgrade"); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q: the client got Upgrade %q, want %q", answer, got, want)
		}
		if named := strings.Contains(strings.Join(r.Header.Values("Connection"), ","), "Upgrade"); named != (len(want) > 0) {
			t.Errorf("%q: Connection is %q", answer, r.Header.Values("Connection"))
		}
	}
	f("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno", "websocket")
	f("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nConnection: close, upgrade\r\nContent-Length: 2\r\n\r\nno", "TLS/1.2, HTTP/1.1")
	f("HTTP/1.1 426 Upgrade Required\r\nUpgrade: a\r\nupgrade: b\r\nContent-Length: 2\r\n\r\nno", "a", "b")
	f("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
	f("HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok")
}
