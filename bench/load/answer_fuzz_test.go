package load

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
)

// FuzzAnswer reads what net/http reads as well, in one piece and byte by byte, and must find
// the same status and body.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Deck: d1\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 200 OK\r\n\r\nuntil the end"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"))
	f.Fuzz(func(t *testing.T, text []byte) {
		read := func(from io.Reader) (answerReader, error) {
			a := answerReader{from: from, buf: make([]byte, maxHead)}
			err := a.read(&Expect{Status: 200, Header: "x-deck"}, "GET", 0)
			return a, err
		}
		whole, err := read(bytes.NewReader(text))
		pieces, errPieces := read(iotest.OneByteReader(bytes.NewReader(text)))
		if (err == nil) != (errPieces == nil) || err == nil && (whole.bytes != pieces.bytes || whole.sum != pieces.sum) {
			t.Fatalf("in one piece: %v, %d bytes; byte by byte: %v, %d bytes", err, whole.bytes, errPieces, pieces.bytes)
		}
		resp, errHTTP := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
		if err != nil || errHTTP != nil || resp.StatusCode < 200 {
			return
		}
		body, errHTTP := io.ReadAll(resp.Body)
		if errHTTP == nil && (whole.status != resp.StatusCode || whole.bytes != int64(len(body)) || whole.sum != Sum(body)) {
			t.Fatalf("status %d, %d bytes; net/http: %d, %d bytes", whole.status, whole.bytes, resp.StatusCode, len(body))
		}
	})
}
