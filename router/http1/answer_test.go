package http1

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestHeadsOfAnswers(t *testing.T) {
	f := func(head string, status int, reason string, length int64, chunked, closes bool) {
		t.Helper()
		var a Answer
		if err := a.Parse([]byte(head)); err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		if a.Status != status || string(a.Reason) != reason || a.Length != length || a.Chunked != chunked || a.Closes != closes {
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
			if end, searched, err = AnswerEnd([]byte(all)[:have], searched); err != nil {
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
		if _, _, err := AnswerEnd([]byte(bad), 0); !errors.Is(err, ErrAnswerBareLF) {
			t.Fatalf("%q: %v", bad, err)
		}
	}
	if _, _, err := AnswerEnd(bytes.Repeat([]byte("a"), MaxAnswerHead), 0); !errors.Is(err, ErrAnswerTooLarge) {
		t.Fatal(err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close, x\r\nX: y\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.0 304\r\nX-Grid-Fault: a\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 099 \r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\n folded\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		end, _, err := AnswerEnd(data, 0)
		if err != nil || end == 0 {
			return
		}
		var a Answer
		if a.Parse(data[:end]) != nil {
			return
		}
		if a.Status < 100 || a.Status > 599 || a.Chunked && a.Length >= 0 || a.Length < -1 {
			t.Fatalf("%q became %+v", data[:end], a)
		}
		fields := a.AppendFields(nil)
		for scan := (fieldScanner{rest: fields}); scan.next(); {
			if !IsToken(scan.name) || !IsValue(scan.value) {
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
