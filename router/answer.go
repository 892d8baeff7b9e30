package router

import (
	"bytes"
	"errors"
	"net/http"

	"gridrouter.io/router/admission"
)

// Limits of a deck's answer.
const (
	maxAnswerHead   = 64 << 10
	maxAnswerFields = 256
	maxInterim      = 16 // answers 1xx before the one that counts
)

// answer is the head of a deck's answer, as far as a router reads it.
type answer struct {
	status    int
	reason    []byte // as it came
	fields    []byte // the field lines, as they came, with the empty line that ends them
	http10    bool
	length    int64 // Content-Length; -1: none
	chunked   bool
	closes    bool // the deck's connection ends with this answer
	keepAlive bool
	nominates bool   // Connection names fields
	dated     bool   // there is a Date
	upgrade   []byte // the protocol to go on with, of Upgrade; nil: none, or more than one
	switches  bool   // Connection names upgrade
}

var (
	errHeadBareLF   = errors.New("a line of the answer's head does not end in CR LF")
	errHeadTooLarge = errors.New("the answer's head is too large")
	errHeadStatus   = errors.New("the answer has no proper status line")
	errHeadField    = errors.New("the answer has a malformed field")
	errHeadFraming  = errors.New("the answer does not say in one way where its body ends")
)

// answerEnd finds the end of a head in what has been read of it. from is how much of it
// was searched before, next how much has been now. end is 0 while the head is not whole.
func answerEnd(read []byte, from int) (end, next int, err error) {
	for {
		i := bytes.IndexByte(read[from:], '\n')
		if i < 0 {
			if len(read) >= maxAnswerHead {
				return 0, from, errHeadTooLarge
			}
			return 0, from, nil
		}
		at := from + i
		switch {
		case at == 0 || read[at-1] != '\r':
			return 0, from, errHeadBareLF
		case i == 1:
			return at + 1, at + 1, nil
		case at >= maxAnswerHead:
			return 0, from, errHeadTooLarge
		}
		from = at + 1
	}
}

// parse reads a whole head, strictly: what could be read in two ways is an error.
func (a *answer) parse(head []byte) error {
	*a = answer{length: -1}
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return errHeadBareLF
	}
	if !a.parseStatus(head[:end-1]) {
		return errHeadStatus
	}
	a.fields = head[end+1:]
	lengths, codings, upgrades, count := 0, 0, 0, 0
	for scan := (fieldScanner{rest: a.fields}); scan.next(); count++ {
		if count == maxAnswerFields {
			return errHeadTooLarge
		}
		if !admission.IsToken(scan.name) || !admission.IsValue(scan.value) {
			return errHeadField
		}
		switch {
		case admission.EqualFold(scan.name, "content-length"):
			length, ok := admission.ParseLength(scan.value)
			if lengths++; !ok {
				return errHeadFraming
			}
			a.length = length
		case admission.EqualFold(scan.name, "transfer-encoding"):
			if codings++; !admission.EqualFold(scan.value, "chunked") {
				return errHeadFraming
			}
			a.chunked = true
		case admission.EqualFold(scan.name, "connection"):
			a.readConnection(scan.value)
		case admission.EqualFold(scan.name, "date"):
			a.dated = true
		case admission.EqualFold(scan.name, "upgrade"):
			if upgrades++; upgrades == 1 {
				a.upgrade = scan.value
			} else {
				a.upgrade = nil
			}
		}
	}
	if lengths > 1 || codings > 1 || lengths+codings > 1 || codings > 0 && a.http10 {
		return errHeadFraming
	}
	a.closes = a.closes || a.http10 && !a.keepAlive
	return nil
}

// parseStatus reads the status line. A reason phrase may be empty, and so may the space
// before it; servers leave out both.
func (a *answer) parseStatus(line []byte) bool {
	const begin = len("HTTP/1.1 200")
	if len(line) < begin || string(line[:7]) != "HTTP/1." || line[8] != ' ' {
		return false
	}
	switch line[7] {
	case '1':
	case '0':
		a.http10 = true
	default:
		return false
	}
	for _, b := range line[9:12] {
		if b < '0' || b > '9' {
			return false
		}
		a.status = a.status*10 + int(b-'0')
	}
	if rest := line[begin:]; len(rest) > 0 {
		if rest[0] != ' ' || !admission.IsValue(rest) {
			return false
		}
		a.reason = rest[1:]
	}
	return a.status >= 100 && a.status <= 599
}

func (a *answer) readConnection(list []byte) {
	for len(list) > 0 {
		var option []byte
		option, list = admission.NextItem(list)
		switch {
		case admission.EqualFold(option, "close"):
			a.closes = true
		case admission.EqualFold(option, "keep-alive"):
			a.keepAlive = true
		case admission.EqualFold(option, "upgrade"):
			a.switches = true
		case len(option) > 0:
			a.nominates = true
		}
	}
}

// bodyless says whether no body follows, whatever the fields say (RFC 9112 6.3).
func (a *answer) bodyless(head bool) bool {
	return head || a.status == 204 || a.status == 304 || a.status < 200
}

// appendUpgrade appends what a client must be told of the protocol that it should go on with
// (RFC 9110 15.5.22). Of other answers Upgrade is between the deck and the router.
func (a *answer) appendUpgrade(dst []byte) []byte {
	if a.status != http.StatusUpgradeRequired {
		return dst
	}
	named := false
	for scan := (fieldScanner{rest: a.fields}); scan.next(); {
		if admission.EqualFold(scan.name, "upgrade") {
			dst, named = append(dst, scan.raw...), true
		}
	}
	if named {
		dst = append(dst, "Connection: Upgrade\r\n"...)
	}
	return dst
}

// appendFields appends the field lines that the client receives, byte for byte: all but
// those that are for the deck's connection only, and X-Grid-*, which is the router's to say.
func (a *answer) appendFields(dst []byte) []byte {
	for scan := (fieldScanner{rest: a.fields}); scan.next(); {
		if a.passes(scan.name) {
			dst = append(dst, scan.raw...)
		}
	}
	return dst
}

func (a *answer) passes(name []byte) bool {
	switch name[0] | 0x20 { // only these begin the name of a field that does not pass
	case 'c', 'k', 'p', 't', 'u', 'x':
		for _, dropped := range [...]string{"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer",
			"transfer-encoding", "upgrade"} {
			if admission.EqualFold(name, dropped) {
				return false
			}
		}
		const grid = "x-grid-"
		if len(name) >= len(grid) && admission.EqualFold(name[:len(grid)], grid) {
			return false
		}
		if (a.status == 204 || a.status < 200) && admission.EqualFold(name, "content-length") { // RFC 9110 8.6
			return false
		}
	}
	return !a.nominates || !a.nominated(name)
}

// nominated says whether Connection names the field as for the deck's connection only.
// What frames the body cannot be named away.
func (a *answer) nominated(name []byte) bool {
	if admission.EqualFold(name, "content-length") {
		return false
	}
	for scan := (fieldScanner{rest: a.fields}); scan.next(); {
		if !admission.EqualFold(scan.name, "connection") {
			continue
		}
		for list := scan.value; len(list) > 0; {
			var option []byte
			if option, list = admission.NextItem(list); admission.SameName(option, name) {
				return true
			}
		}
	}
	return false
}

// fieldScanner walks over field lines that end in CR LF, up to the empty one.
type fieldScanner struct {
	rest             []byte
	raw, name, value []byte
}

func (s *fieldScanner) next() bool {
	end := bytes.IndexByte(s.rest, '\n')
	if end < 2 || s.rest[end-1] != '\r' {
		return false
	}
	s.raw, s.rest = s.rest[:end+1], s.rest[end+1:]
	line := s.raw[:len(s.raw)-2]
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		s.name, s.value = nil, nil // no token: refused
		return true
	}
	s.name, s.value = line[:colon], admission.TrimSpace(line[colon+1:])
	return true
}
