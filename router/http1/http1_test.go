package http1

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestAHeadEndsAtItsEmptyLineHoweverItArrives(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
	for step := 1; step <= len(head); step++ {
		h := HeadFinder{MaxLine: 100, MaxFields: 100}
		have := 0
		for {
			have = min(have+step, len(head+"next"))
			end, err := h.Find([]byte(head + "next")[:have])
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			if end > 0 {
				if end != len(head) || h.Line() != len("GET / HTTP/1.1\r\n") {
					t.Fatalf("step %d: ends at %d, first line of %d", step, end, h.Line())
				}
				break
			}
			if have >= len(head) {
				t.Fatalf("step %d: the head is whole, and not found", step)
			}
		}
	}
}

func TestHeadsThatCannotBeFramedAreRefused(t *testing.T) {
	f := func(head string, want error) {
		t.Helper()
		for step := 1; step <= len(head); step++ {
			h := HeadFinder{MaxLine: 20, MaxFields: 30}
			var err error
			for have := 0; have < len(head) && err == nil; {
				have = min(have+step, len(head))
				_, err = h.Find([]byte(head)[:have])
			}
			if !errors.Is(err, want) {
				t.Errorf("%q in steps of %d: got %v, want %v", head, step, err, want)
			}
		}
	}
	f("\n", ErrBareLF)
	f("GET / HTTP/1.1\n", ErrBareLF)
	f("GET / HTTP/1.1\r\nHost: a\n\r\n", ErrBareLF)
	f("GET / HTTP/1.1\r\nHost: a\r\n\n", ErrBareLF)
	f("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", ErrBareCR)
	f("GET /long HTTP/1.1 and more", ErrLineTooLong)
	f("GET /long HTTP/1.1 \r\n", ErrLineTooLong)
	f("GET / HTTP/1.1\r\nHost: "+strings.Repeat("a", 30), ErrHeadTooLarge)
	f("GET / HTTP/1.1\r\nHost: aaaaaaaaaa\r\nX: aaaaaaaaaaaa\r\n\r\n", ErrHeadTooLarge)
}

// FuzzHead holds that pieces make no difference, and that what is framed has proper lines.
func FuzzHead(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"), 3)
	f.Add([]byte("\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if step < 1 || step > len(data) {
			return
		}
		whole, parts := HeadFinder{MaxLine: 64, MaxFields: 256}, HeadFinder{MaxLine: 64, MaxFields: 256}
		end, err := whole.Find(data)
		var endParts int
		var errParts error
		for have := 0; have < len(data) && endParts == 0 && errParts == nil; {
			have = min(have+step, len(data))
			endParts, errParts = parts.Find(data[:have])
		}
		if end != endParts || (err == nil) != (errParts == nil) {
			t.Fatalf("%q in steps of %d: %d %v, at once %d %v", data, step, endParts, errParts, end, err)
		}
		if end > 0 && (!bytes.HasSuffix(data[:end], []byte("\r\n\r\n")) || bytes.Count(data[:end], []byte("\n")) != bytes.Count(data[:end], []byte("\r\n"))) {
			t.Fatalf("%q is no head", data[:end])
		}
	})
}

func TestChunksAreDecodedHoweverTheyArrive(t *testing.T) {
	const body = "5\r\nhello\r\n1;a=\"b\"\r\n,\r\n0A \t;c\r\n 0123456 8\r\n0\r\nX-T: 1\r\nY: 2\r\n\r\n"
	const want, behind = "hello, 0123456 8", "next"
	for step := 1; step <= len(body); step++ {
		var d Chunks
		var got []byte
		rest := []byte(body + behind)
		for !d.Ended() {
			piece := rest[:min(step, len(rest))]
			n, used, err := d.Decode(piece)
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

func TestMalformedChunksAreRefused(t *testing.T) {
	for _, body := range []string{
		"\r\n", "g\r\n", "5", " 5\r\n", "5\nhello", "5\r\nhello\n", "5\r\nhellox", "0x5\r\n", "5 \r\n", "0\r\nX\r\n\r\n", "0\r\n: a\r\n\r\n", "0\r\nX : a\r\n\r\n", "-1\r\n", "5\r\rhello", "5;\x01\r\n", "5;" + strings.Repeat("a", maxChunkLine+1),
		strings.Repeat("0", maxSizeDigits+1) + "\r\n", "fffffffffffffffff\r\n", "0\r\nX\n", "0\r\n folded\r\n\r\n", "0\r\n\rx",
		"0\r\nX: " + strings.Repeat("a", maxTrailerBytes) + "\r\n\r\n",
	} {
		var d Chunks
		_, _, err := d.Decode([]byte(body))
		if whole := d.Ended(); err == nil && (whole || body != "5") {
			t.Errorf("%.40q: err=%v whole=%v", body, err, whole)
		}
	}
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), 3)
	f.Add([]byte("1;x\r\na\r\n0\r\nT: 1\r\n\r\nrest"), 1)
	f.Add([]byte("1 ; x = \"a\\\"b\" ;y\r\na\r\n0;z=1\r\n\r\n"), 2)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if step < 1 || step > len(data) {
			return
		}
		var whole, parts Chunks
		all := bytes.Clone(data)
		n, used, err := whole.Decode(all)
		var got []byte
		var errParts error
		rest := bytes.Clone(data)
		for len(rest) > 0 && errParts == nil && !parts.Ended() {
			piece := rest[:min(step, len(rest))]
			m, u, errPiece := parts.Decode(piece)
			got, rest, errParts = append(got, piece[:m]...), rest[u:], errPiece
		}
		if (err == nil) != (errParts == nil) || err == nil && (!bytes.Equal(got, all[:n]) || len(data)-len(rest) != used || whole.Ended() != parts.Ended()) {
			t.Fatalf("%q in steps of %d: %q %v, at once: %q %v", data, step, got, errParts, all[:n], err)
		}
	})
}
