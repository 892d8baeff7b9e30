package http1

import "testing"

// TestABodyKnowsItsEnd takes bodies of each framing in pieces of every size, with the next message
// behind them.
func TestABodyKnowsItsEnd(t *testing.T) {
	f := func(framing Framing, length int64, received, want string, ends bool) {
		t.Helper()
		for step := 1; step <= len(received); step++ {
			body, got, next := NewBody(framing, length), "", ""
			for rest := received; len(rest) > 0; {
				n := min(step, len(rest))
				if body.Ended() {
					next += rest
					break
				}
				piece := []byte(rest[:n])
				data, used, err := body.Take(piece)
				if err != nil {
					t.Fatalf("%q in pieces of %d: %v", received, step, err)
				}
				got, rest = got+string(piece[:data]), rest[used:]
			}
			if got != want || body.Ended() != ends || ends && next != "next" {
				t.Errorf("%q in pieces of %d: got %q, ended %v, and %q behind it", received, step, got, body.Ended(), next)
			}
		}
	}
	f(FramedNot, 0, "next", "", true)
	f(FramedByLength, 0, "next", "", true)
	f(FramedByLength, 5, "hellonext", "hello", true)
	f(FramedByLength, 9, "hello", "hello", false)
	f(FramedByChunks, -1, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nnext", "hello", true)
	f(FramedByChunks, -1, "2\r\nhe\r\n3\r\nll", "hell", false)
	f(FramedByClose, -1, "hello", "hello", false)
}

func TestOnlyABodyFramedByItsConnectionEndsWithIt(t *testing.T) {
	for framing, whole := range map[Framing]bool{FramedNot: true, FramedByLength: false, FramedByChunks: false, FramedByClose: true} {
		body := NewBody(framing, 1)
		if got := body.End(); got != whole || body.Ended() != whole {
			t.Errorf("framing %d: whole is %v, want %v", framing, got, whole)
		}
	}
}

func TestNoMoreIsReceivedThanTheLengthSays(t *testing.T) {
	short, long, chunked := NewBody(FramedByLength, 3), NewBody(FramedByLength, 1<<40), NewBody(FramedByChunks, -1)
	if short.AtMost(8) != 3 || long.AtMost(8) != 8 || chunked.AtMost(8) != 8 {
		t.Errorf("got %d, %d and %d", short.AtMost(8), long.AtMost(8), chunked.AtMost(8))
	}
	if _, _, err := short.Take([]byte("ab")); err != nil || short.Missing() != 1 {
		t.Errorf("%d bytes are missing, %v", short.Missing(), err)
	}
}
