package admission

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"gridrouter.io/routing"
)

// Question is a request to explain: what stands in its head, and what a router knows of it besides.
// In JSON it is a line of a batch. It is the only form in which an explanation is asked for.
type Question struct {
	// URL is http://HOST/PATH?QUERY (or https; the scheme may be left out), or a path alone if
	// Headers hold a Host.
	URL string `json:"url"`
	// Method defaults to GET.
	Method string `json:"method,omitempty"`
	// Headers are lines "Name: value", in order; a Host among them takes the place of the URL's,
	// as curl has it.
	Headers []string `json:"headers,omitempty"`
	// ClientIP is the client's address as the router believes it; empty: unknown.
	ClientIP string `json:"clientIP,omitempty"`
}

// QuestionOf reads a question as [Question.Query] writes it.
func QuestionOf(query url.Values) Question {
	return Question{URL: query.Get("url"), Method: query.Get("method"), Headers: query["header"], ClientIP: query.Get("clientIP")}
}

// Query is the question as the query of /explain has it.
func (q *Question) Query() url.Values {
	query := url.Values{"url": {q.URL}, "method": {q.Method}, "header": q.Headers}
	if q.ClientIP != "" {
		query.Set("clientIP", q.ClientIP)
	}
	return query
}

// PinReader finds a pin that the table does not hold; see [routing.Decision]. It must not
// keep key.
type PinReader func(tenant string, key []byte) routing.Pinned

// Explain says what the data path does with a request, without sending it: the same checks and the
// same decision, run on the head that a client would send for it. pins reads the pins that the
// table does not hold; nil: nobody does.
//
// An error says that no request can be made of the question. A request that the checks refuse is no
// error: its Explanation bears the fault and the reason.
func Explain(t *routing.Table, pins PinReader, q Question) (routing.Explanation, error) {
	if t == nil {
		return routing.Explanation{}, errors.New("there is no table yet: no documents have been loaded")
	}
	line, fields, err := syntheticHead(q.Method, q.URL, q.Headers)
	if err != nil {
		return routing.Explanation{}, err
	}
	var head Head
	refusal := head.Check(line, fields)
	if err := q.fill(&head.Request); err != nil {
		return routing.Explanation{}, err
	}
	if refusal != (Refusal{}) {
		return routing.Explanation{
			Method: string(line.Method), Host: string(head.Authority.Host), Path: string(head.Request.Path),
			Revision: t.Revision(), Hash: t.Hash(), Slot: -1, Fault: refusal.Fault, Reason: refusal.Reason,
		}, nil
	}
	if d := t.Decide(&head.Request); d.PinWanted && pins != nil {
		return t.ExplainPinned(&head.Request, pins(d.Tenant, d.Key)), nil
	}
	return t.Explain(&head.Request), nil
}

// fill puts into a request what its head does not say.
func (q *Question) fill(request *routing.Request) error {
	if q.ClientIP != "" {
		client, err := netip.ParseAddr(q.ClientIP)
		if err != nil {
			return fmt.Errorf("clientIP %q is no IP address; write one such as 192.0.2.7", q.ClientIP)
		}
		request.ClientIP = client.Unmap()
	}
	return nil
}

// syntheticHead makes the head that a client sends for a URL.
func syntheticHead(method, rawURL string, headers []string) (RequestLine, []byte, error) {
	if method == "" {
		method = "GET"
	}
	authority, target := splitURL(rawURL)
	if target == "" {
		target = "/"
	}
	var fields bytes.Buffer
	hosted := false
	for _, header := range headers {
		name, value, found := strings.Cut(header, ":")
		if !found {
			return RequestLine{}, nil, fmt.Errorf("%q is no header; write 'Name: value'", name)
		}
		hosted = hosted || strings.EqualFold(name, "Host")
		fmt.Fprintf(&fields, "%s: %s\r\n", name, strings.Trim(value, " \t"))
	}
	switch {
	case !hosted && authority == "":
		return RequestLine{}, nil, fmt.Errorf("%q names no host; write http://HOST/PATH, or add a Host header", rawURL)
	case !hosted:
		fmt.Fprintf(&fields, "Host: %s\r\n", authority)
	}
	fields.WriteString("\r\n")
	line := RequestLine{Method: []byte(method), Target: []byte(target), Version: []byte("HTTP/1.1")}
	return line, fields.Bytes(), nil
}

// splitURL splits a URL behind its authority.
func splitURL(rawURL string) (authority, target string) {
	if strings.HasPrefix(rawURL, "/") || rawURL == "*" {
		return "", rawURL
	}
	rest := rawURL
	for _, scheme := range []string{"http://", "https://"} {
		if len(rawURL) >= len(scheme) && strings.EqualFold(rawURL[:len(scheme)], scheme) {
			rest = rawURL[len(scheme):]
		}
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		return rest, ""
	}
	authority, target = rest[:end], rest[end:]
	if target[0] != '/' {
		target = "/" + target
	}
	return authority, target
}
