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

func TestChunksAreDecodedHoweverTheyArrive(t *testing.T) {
	const body = "5\r\nhello\r\n1;a=\"b\"\r\n,\r\n0A \r\n 0123456 8\r\n0\r\nX-T: 1\r\nY: 2\r\n\r\n"
	const want, behind = "hello, 0123456 8", "next"
	for step := 1; step <= len(body); step++ {
		var d chunkDecoder
		var got []byte
		rest := []byte(body + behind)
		for !d.ended() {
			piece := rest[:min(step, len(rest))]
			n, used, err := d.decode(piece)
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			got = append(got, piece[:n]...)
			rest = rest[used:]
		}
		if string(got) != want || string(rest) != behind {
			t.Fatalf("step %d: got %q, left %q", step, got, rest)
		}
	}
}

func TestMalformedChunksOfAnswers(t *testing.T) {
	for _, body := range []string{
		"\r\n", "g\r\n", "5", " 5\r\n", "5\nhello", "5\r\nhello\n", "5\r\nhellox", "0x5\r\n", "-1\r\n", "5\r\rhello", "5;\x01\r\n", "5;" + strings.Repeat("a", maxChunkLine+1),
		strings.Repeat("0", maxSizeDigits+1) + "\r\n", "fffffffffffffffff\r\n", "0\r\nX\n", "0\r\n folded\r\n\r\n", "0\r\n\rx",
		"0\r\nX: " + strings.Repeat("a", maxTrailerBytes) + "\r\n\r\n",
	} {
		var d chunkDecoder
		_, _, err := d.decode([]byte(body))
		if whole := d.ended(); err == nil && (whole || body != "5") {
			t.Errorf("%.40q: err=%v whole=%v", body, err, whole)
		}
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

func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), 3)
	f.Add([]byte("1;x\r\na\r\n0\r\nT: 1\r\n\r\nrest"), 1)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if step < 1 || step > len(data) {
			return
		}
		var whole, parts chunkDecoder
		all := bytes.Clone(data)
		n, used, err := whole.decode(all)
		var got []byte
		var errParts error
		rest := bytes.Clone(data)
		for len(rest) > 0 && errParts == nil && !parts.ended() {
			piece := rest[:min(step, len(rest))]
			m, u, errPiece := parts.decode(piece)
			got, rest, errParts = append(got, piece[:m]...), rest[u:], errPiece
		}
		if (err == nil) != (errParts == nil) || err == nil && (!bytes.Equal(got, all[:n]) || len(data)-len(rest) != used || whole.ended() != parts.ended()) {
			t.Fatalf("%q in steps of %d: %q %v, at once: %q %v", data, step, got, errParts, all[:n], err)
		}
	})
}
