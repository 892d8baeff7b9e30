package admission

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"gridrouter.io/routing"
)

// Explain says what the data path does with a request, without sending it: the same
// checks and the same decision, run on the head that a client would send for it.
//
// rawURL is http://HOST/PATH?QUERY (or https; the scheme may be left out), or a path
// alone if headers hold a Host. headers are lines "Name: value", in order; a Host among
// them takes the place of the URL's, as curl has it. method empty means GET. clientIP is
// the client's address as the router believes it; the zero Addr: unknown.
//
// An error says that no request can be made of the arguments. A request that the checks
// refuse is no error: its Explanation bears the fault and the reason.
func Explain(t *routing.Table, method, rawURL string, headers []string, clientIP netip.Addr) (routing.Explanation, error) {
	return ExplainPinned(t, nil, method, rawURL, headers, clientIP)
}

// PinReader finds a pin that the table does not hold; see [routing.Decision]. It must not
// keep key.
type PinReader func(tenant string, key []byte) routing.Pinned

// ExplainPinned is [Explain] with somebody who reads the pins that the table does not hold;
// nil: nobody does.
func ExplainPinned(t *routing.Table, pins PinReader, method, rawURL string, headers []string, clientIP netip.Addr) (routing.Explanation, error) {
	if t == nil {
		return routing.Explanation{}, errors.New("there is no table yet: no documents have been loaded")
	}
	line, fields, err := syntheticHead(method, rawURL, headers)
	if err != nil {
		return routing.Explanation{}, err
	}
	return explainHead(t, pins, line, fields, clientIP), nil
}

// ExplainHead is [Explain] for a head as it came.
func ExplainHead(t *routing.Table, line RequestLine, fields []byte, clientIP netip.Addr) routing.Explanation {
	return explainHead(t, nil, line, fields, clientIP)
}

func explainHead(t *routing.Table, pins PinReader, line RequestLine, fields []byte, clientIP netip.Addr) routing.Explanation {
	var head Head
	refusal := head.Check(line, fields)
	head.Request.ClientIP = clientIP
	if refusal == (Refusal{}) {
		if d := t.Decide(&head.Request); d.PinWanted && pins != nil {
			pin := pins(d.Tenant, d.Key)
			return t.ExplainPinned(&head.Request, pin)
		}
		return t.Explain(&head.Request)
	}
	return routing.Explanation{
		Method: string(line.Method), Host: string(head.Authority.Host), Path: string(head.Request.Path),
		Revision: t.Revision(), Hash: t.Hash(), Slot: -1, Fault: refusal.Fault, Reason: refusal.Reason,
	}
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
