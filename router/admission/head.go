package admission

import (
	"bytes"

	"gridrouter.io/router/http1"
	"gridrouter.io/routing"
)

// RequestLine is the first line of a request, taken apart at its spaces.
type RequestLine struct {
	Method, Target, Version []byte
}

// Head is the checked head of one request. The zero value is ready for [Head.Check];
// keep and reuse it, one goroutine at a time. Its slices belong to the bytes that were
// checked or to the Head, and are valid until the next Check.
type Head struct {
	// Request is the view that decisions are made from. Its ClientIP is the caller's to set.
	Request routing.Request
	// Target is the request target as the deck receives it: as it came, an absolute-form
	// one as origin-form.
	Target []byte
	// Authority is the one canonical authority.
	Authority Authority
	// Lines are the field lines, in order.
	Lines []Line
	// Length is the body's length in bytes as Content-Length says, else -1.
	Length int64
	// Chunked says that the body is framed by chunks.
	Chunked bool
	// HTTP10 says that the client speaks HTTP/1.0.
	HTTP10 bool
	// Close says that the connection ends with this request's answer.
	Close bool
	// Continue says that the client waits for 100 (Continue) before it sends the body.
	Continue bool
	// Upgrade is the one protocol that the client asks to go on with (RFC 9110 7.8), such as
	// websocket; empty: none. A request that offers several, or one that is HTTP or TLS by
	// another name, or that has a body, is one without: a server may pass over the field.
	Upgrade []byte

	lines     [MaxFields]Line
	hostBuf   []byte
	targetBuf []byte
	hosts     int
	host      []byte
	length    []byte
	lengths   int
	codings   int
	coding    []byte
	expect    []byte
	expects   int
	nominates bool
	keepAlive bool
	upgrade   []byte
	upgrades  int
	switches  bool // Connection names upgrade
}

var _ routing.Fields = (*Head)(nil)

// Reset forgets the request that was checked last.
func (h *Head) Reset() { h.reset(RequestLine{}) }

// Host returns the value of the Host field as it came.
func (h *Head) Host() []byte { return h.host }

// HasBody says whether a body follows the head.
func (h *Head) HasBody() bool { return h.Chunked || h.Length > 0 }

// Body returns the body that follows the head, at its start.
func (h *Head) Body() http1.Body {
	switch {
	case h.Chunked:
		return http1.NewBody(http1.FramedByChunks, 0)
	case h.Length > 0:
		return http1.NewBody(http1.FramedByLength, h.Length)
	}
	return http1.NewBody(http1.FramedNot, 0)
}

// Field implements [routing.Fields]. A field that Connection nominates is not there: the deck does
// not get it, and may not be chosen by it.
func (h *Head) Field(name string) (value []byte, lines int) {
	for i := range h.Lines {
		if http1.EqualFold(h.Lines[i].Name, name) && h.Lines[i].Class != Nominated {
			if lines == 0 {
				value = h.Lines[i].Value
			}
			lines++
		}
	}
	return value, lines
}

// Line implements [routing.Fields].
func (h *Head) Line(name string, n int) (value []byte) {
	for i := range h.Lines {
		if http1.EqualFold(h.Lines[i].Name, name) && h.Lines[i].Class != Nominated {
			if n == 0 {
				return h.Lines[i].Value
			}
			n--
		}
	}
	return nil
}

// First returns the value of the first line of a class, and how many there are.
func (h *Head) First(class Class) (value []byte, lines int) {
	for i := range h.Lines {
		if h.Lines[i].Class == class {
			if lines == 0 {
				value = h.Lines[i].Value
			}
			lines++
		}
	}
	return value, lines
}

// SplitHead takes a head apart: the first line, which has so many bytes with its end, at
// its first and last space, and the field lines. What is no request line is found by
// [Head.Check], which checks each part.
func SplitHead(head []byte, lineBytes int) (line RequestLine, fields []byte) {
	text := head[:lineBytes-2]
	first, last := bytes.IndexByte(text, ' '), bytes.LastIndexByte(text, ' ')
	if first < 0 || first == last {
		return RequestLine{Method: text}, head[lineBytes:]
	}
	return RequestLine{Method: text[:first], Target: text[first+1 : last], Version: text[last+1:]}, head[lineBytes:]
}

// Check reads the head of a request: its first line and its field lines as they came,
// each with its CRLF, and the empty line that ends them. What it refuses must not be
// routed, and its connection must be closed after the answer: where the next message
// begins is not certain. After a refusal the Head holds what was read so far, which is
// good for a log line and nothing else.
//
// What cannot be read comes before what can be read and is not supported, so that a
// request with both faults gets the same answer wherever the first is noticed.
func (h *Head) Check(line RequestLine, fields []byte) Refusal {
	h.reset(line)
	if !isVersion(line.Version) {
		return bad("the request line does not end in an HTTP version")
	}
	if !http1.IsToken(line.Method) {
		return bad("the method is no token")
	}
	if isPreface(line) {
		return Refusal{VersionNotSupported, "HTTP/2 is not offered; a client must not speak it without asking"}
	}
	var absolute, usualPort []byte
	if string(line.Method) != "CONNECT" { // whose target has a form of its own, and which is refused below
		target, buf, reason := readTarget(line.Method, line.Target, h.targetBuf)
		h.targetBuf = buf
		if reason != "" {
			return bad(reason)
		}
		h.Target, h.Request.Path, h.Request.Query = target.origin, target.path, target.query
		absolute, usualPort = target.authority, target.usualPort
	}
	if refusal := h.readFields(fields); refusal != (Refusal{}) {
		return refusal
	}
	if refusal := h.readAuthority(absolute, usualPort); refusal != (Refusal{}) {
		return refusal
	}
	if refusal := h.readFraming(line.Version); refusal != (Refusal{}) {
		return refusal
	}
	if refusal := h.checkSupport(line); refusal != (Refusal{}) {
		return refusal
	}
	h.readConnection()
	return Refusal{}
}

// isPreface says whether a line is that by which a client begins HTTP/2 without asking first (RFC 9113
// 3.4). No request of HTTP/1 is like it, and it has no fields, which would be the fault else.
func isPreface(line RequestLine) bool {
	return string(line.Method) == "PRI" && string(line.Target) == "*" && string(line.Version) == "HTTP/2.0"
}

// checkSupport refuses what is well formed, and not done here.
func (h *Head) checkSupport(line RequestLine) Refusal {
	switch string(line.Version) {
	case "HTTP/1.1", "HTTP/1.0":
	default:
		return Refusal{VersionNotSupported, "the HTTP version is neither 1.0 nor 1.1"}
	}
	switch string(line.Method) {
	case "CONNECT", "TRACE":
		return Refusal{MethodNotAllowed, "the method is not for decks"}
	}
	if len(line.Target) > MaxTargetBytes {
		return Refusal{URITooLong, "the request target is longer than 8 KiB"}
	}
	if h.expects > 0 && !h.HTTP10 { // RFC 9110 10.1.1: ignored in HTTP/1.0
		if h.expects > 1 || !http1.EqualFold(h.expect, "100-continue") {
			return Refusal{ExpectationFailed, "the expectation is not 100-continue"}
		}
		h.Continue = h.HasBody()
	}
	return Refusal{}
}

func (h *Head) reset(line RequestLine) {
	h.Request.Host, h.Request.Method, h.Request.Path, h.Request.Query = nil, line.Method, nil, nil
	h.Request.Fields = h
	h.Target, h.Authority, h.Lines = nil, Authority{}, h.lines[:0]
	h.Length, h.Chunked, h.HTTP10, h.Close, h.Continue = -1, false, false, false, false
	h.hosts, h.host, h.length, h.lengths = 0, nil, nil, 0
	h.codings, h.coding, h.expect, h.expects, h.nominates, h.keepAlive = 0, nil, nil, 0, false, false
	h.Upgrade, h.upgrade, h.upgrades, h.switches = nil, nil, 0, false
	h.HTTP10 = string(line.Version) == "HTTP/1.0"
}

// isVersion says whether v has the form of RFC 9112 2.3.
func isVersion(v []byte) bool {
	digit := func(b byte) bool { return b >= '0' && b <= '9' }
	return len(v) == len("HTTP/1.1") && string(v[:5]) == "HTTP/" && digit(v[5]) && v[6] == '.' && digit(v[7])
}

// readFields reads the field lines one by one.
func (h *Head) readFields(rest []byte) Refusal {
	if len(rest) > MaxHeadBytes {
		return Refusal{HeadTooLarge, "the header is larger than 64 KiB"}
	}
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' {
			return bad("a field line does not end in CR LF")
		}
		raw := rest[:end+1]
		rest = rest[end+1:]
		if len(raw) == 2 {
			if len(rest) > 0 {
				return bad("something follows the end of the header")
			}
			return Refusal{}
		}
		if refusal := h.readField(raw); refusal != (Refusal{}) {
			return refusal
		}
	}
	return bad("the header does not end in an empty line")
}

func (h *Head) readField(raw []byte) Refusal {
	if raw[0] == ' ' || raw[0] == '\t' {
		return bad("a field is folded over several lines")
	}
	if len(h.Lines) == MaxFields {
		return Refusal{HeadTooLarge, "the header has more than 100 fields"}
	}
	colon := bytes.IndexByte(raw, ':')
	if colon < 0 {
		return bad("a field line has no colon")
	}
	line := Line{Name: raw[:colon], Value: http1.TrimSpace(raw[colon+1 : len(raw)-2]), Raw: raw}
	if !http1.IsToken(line.Name) {
		return bad("a field name is no token")
	}
	if !http1.IsValue(line.Value) {
		return bad("a field value holds a control character")
	}
	line.Class = classify(line.Name)
	h.Lines = append(h.Lines, line)
	h.note(line)
	return Refusal{}
}

// note remembers the fields that admission itself reads.
func (h *Head) note(line Line) {
	switch line.Class { //nolint:exhaustive // lines of every other class are not read here
	case Host:
		h.host, h.hosts = line.Value, h.hosts+1
	case ContentLength:
		h.length, h.lengths = line.Value, h.lengths+1
	case TransferEncoding:
		h.coding, h.codings = line.Value, h.codings+1
	case Expect:
		h.expect, h.expects = line.Value, h.expects+1
	case Connection:
		h.nominates = true
	case Upgrade:
		h.upgrade, h.upgrades = line.Value, h.upgrades+1
	}
}

// readAuthority makes the one canonical authority out of Host, which must stand exactly
// once, and holds an absolute-form target's authority to it (RFC 9112 3.2.2). A port that is
// the scheme's own is the same as none.
func (h *Head) readAuthority(absolute, usualPort []byte) Refusal {
	switch {
	case h.hosts == 0:
		return bad("there is no Host field")
	case h.hosts > 1:
		return bad("there is more than one Host field")
	}
	authority, buf, reason := appendAuthority(h.hostBuf[:0], h.host)
	h.hostBuf = buf
	if reason != "" {
		return bad(reason)
	}
	h.Authority, h.Request.Host = authority, authority.Host
	if absolute == nil {
		return Refusal{}
	}
	named, buf, reason := appendAuthority(h.hostBuf, absolute)
	h.hostBuf = buf
	if reason != "" {
		return bad(reason)
	}
	if !bytes.Equal(named.Host, authority.Host) || !bytes.Equal(named.portOr(usualPort), authority.portOr(usualPort)) {
		return bad("the request target and the Host field name different hosts")
	}
	return Refusal{}
}

// readFraming finds out where the body ends: one way only (RFC 9112 6).
func (h *Head) readFraming(version []byte) Refusal {
	switch {
	case h.codings > 1:
		return bad("there is more than one Transfer-Encoding field")
	case h.codings == 1 && string(version) != "HTTP/1.1":
		return bad("only HTTP/1.1 has a Transfer-Encoding")
	case h.codings == 1 && h.lengths > 0:
		return bad("there are both Content-Length and Transfer-Encoding")
	case h.codings == 1 && !http1.EqualFold(h.coding, "chunked"):
		return Refusal{NotImplemented, "the transfer coding is not chunked"}
	case h.lengths > 1:
		return bad("there is more than one Content-Length field")
	case h.lengths == 1:
		n, ok := http1.ParseLength(h.length)
		if !ok {
			return bad("Content-Length is not one run of digits")
		}
		h.Length = n
	}
	h.Chunked = h.codings == 1
	return Refusal{}
}
