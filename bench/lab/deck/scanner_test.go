package deck

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHeadsAreFoundBetweenBodies(t *testing.T) {
	f := func(stream string, want ...[]string) {
		t.Helper()
		var s headScanner
		s.feed([]byte(stream))
		if diff := cmp.Diff(want, s.heads); diff != "" {
			t.Errorf("heads of %q (-want +got):\n%s", stream, diff)
		}
	}
	f("")
	f("GET / HTTP/1.1\r\nHost: a\r\n") // not whole yet
	f("GET / HTTP/1.1\r\nHost: a\r\n\r\n", []string{"GET / HTTP/1.1", "Host: a"})
	f("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", []string{"GET /1 HTTP/1.1"}, []string{"GET /2 HTTP/1.1"})
	f("POST /1 HTTP/1.1\r\ncontent-length: 5\r\n\r\n\r\n\r\nxGET /2 HTTP/1.1\r\n\r\n",
		[]string{"POST /1 HTTP/1.1", "content-length: 5"}, []string{"GET /2 HTTP/1.1"})
	f("POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n\r\n\r\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
		[]string{"POST /1 HTTP/1.1", "Transfer-Encoding: chunked"}, []string{"GET /2 HTTP/1.1"})
	// HTTP/1.0 knows no transfer codings, and net/http ignores them there.
	f("POST /1 HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nxGET /2 HTTP/1.1\r\n\r\n",
		[]string{"POST /1 HTTP/1.0", "Transfer-Encoding: chunked", "Content-Length: 1"}, []string{"GET /2 HTTP/1.1"})
	f("POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nbad\x00size\r\nGET /2 HTTP/1.1\r\n\r\n",
		[]string{"POST /1 HTTP/1.1", "Transfer-Encoding: chunked"})
}

// FuzzHeadScanner: how the network cuts the stream into pieces changes nothing.
func FuzzHeadScanner(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n"), byte(1))
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), byte(4))
	f.Add([]byte("GET / HTTP/1.1\nHost: a\n\n\r\n\r\n"), byte(7))
	f.Fuzz(func(t *testing.T, stream []byte, step byte) {
		var whole, pieces headScanner
		whole.feed(stream)
		for rest := stream; len(rest) > 0; {
			n := min(int(step)%64+1, len(rest))
			pieces.feed(rest[:n])
			rest = rest[n:]
		}
		if got, want := fmt.Sprintf("%q", pieces.heads), fmt.Sprintf("%q", whole.heads); got != want {
			t.Errorf("in pieces of %d: %s\nat once: %s", step, got, want)
		}
	})
}
