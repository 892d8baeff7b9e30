package lab_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"gridrouter.io/bench/lab/deck"
)

// wire is one client connection. It never tries a request twice, so that every failure
// is seen; net/http's client would hide some.
type wire struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

// request is what a wire sends.
type request struct {
	method, host, target string
	headers              []string // "Name: value"
	body                 string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

const answerLimit = 10 * time.Second

// ask sends the request, over the open connection if there is one.
func (w *wire) ask(r request) (*answer, error) {
	if w.conn == nil {
		conn, err := net.DialTimeout("tcp", w.address, answerLimit)
		if err != nil {
			return nil, err
		}
		w.conn, w.reader = conn, bufio.NewReader(conn)
	}
	a, closing, err := w.exchange(r)
	if err != nil || closing {
		w.close()
	}
	return a, err
}

func (w *wire) exchange(r request) (*answer, bool, error) {
	if err := w.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return nil, true, err
	}
	if _, err := w.conn.Write(r.bytes()); err != nil {
		return nil, true, err
	}
	response, err := http.ReadResponse(w.reader, &http.Request{Method: r.method})
	if err != nil {
		return nil, true, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, true, err
	}
	return &answer{response.StatusCode, response.Header, body}, response.Close, nil
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

func (r request) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.target, r.host)
	for _, line := range r.headers {
		b.WriteString(line + "\r\n")
	}
	if r.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	b.WriteString("\r\n" + r.body)
	return b.Bytes()
}

// deck returns what a deck told, nil if no deck answered.
func (a *answer) deck() *deck.Answer {
	var told deck.Answer
	if json.Unmarshal(a.body, &told) != nil || told.Deck == "" {
		return nil
	}
	return &told
}

// String shows the answer as curl -i does.
func (a *answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", a.status, http.StatusText(a.status))
	_ = a.header.Write(&b)
	b.WriteString("\n")
	b.Write(a.body)
	return b.String()
}

// meets says which of the expectations ("NAME=VALUE") the answer does not meet:
//
//	status=N  deck=NAME  fault=CODE  host=HOST (that the deck saw)
//	head:NAME=VALUE (of the answer)  sent:NAME=VALUE (that the deck received)
//	body~TEXT (the body holds it)    body!TEXT (it does not)
func (a *answer) meets(expectations []string) error {
	for _, e := range expectations {
		if text, ok := strings.CutPrefix(e, "body~"); ok {
			if !strings.Contains(string(a.body), text) {
				return fmt.Errorf("the body holds no %q:\n%s", text, a)
			}
			continue
		}
		if text, ok := strings.CutPrefix(e, "body!"); ok {
			if strings.Contains(string(a.body), text) {
				return fmt.Errorf("the body holds %q:\n%s", text, a)
			}
			continue
		}
		name, want, ok := strings.Cut(e, "=")
		if !ok {
			return fmt.Errorf("%q is not an expectation", e)
		}
		if got := a.fact(name); got != want {
			return fmt.Errorf("%s is %q, not %q:\n%s", name, got, want, a)
		}
	}
	return nil
}

// fact returns what an expectation is about.
func (a *answer) fact(name string) string {
	if field, ok := strings.CutPrefix(name, "head:"); ok {
		return a.header.Get(field)
	}
	told := a.deck()
	if told == nil {
		told = &deck.Answer{}
	}
	if field, ok := strings.CutPrefix(name, "sent:"); ok {
		value, _ := told.Header(field)
		return value
	}
	switch name {
	case "status":
		return fmt.Sprint(a.status)
	case "fault":
		return a.header.Get("X-Grid-Fault")
	case "deck":
		return told.Deck
	case "host":
		return told.Host
	}
	return "(no such fact)"
}
