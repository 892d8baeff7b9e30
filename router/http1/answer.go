package http1

import (
	"bytes"
	"errors"
)

// Limits of the head of an answer.
const (
	// MaxAnswerHead is how many bytes it may have.
	MaxAnswerHead = 64 << 10
	// MaxAnswerFields is how many field lines it may have.
	MaxAnswerFields = 256
)

// Answer is the head of a deck's answer, as far as a router reads it. Its slices are parts of the head
// that was parsed.
type Answer struct {
	// Status is from 100 to 599, Reason as it came.
	Status int
	Reason []byte
	// Fields are the field lines, as they came, with the empty line that ends them.
	Fields []byte
	// HTTP10 says that the answer is of HTTP/1.0.
	HTTP10 bool
	// Length is Content-Length; -1: there is none.
	Length int64
	// Chunked says that the body is in chunks.
	Chunked bool
	// Closes says that the deck's connection ends with this answer.
	Closes bool
	// Dated says that there is a Date.
	Dated bool
	// Upgrade is the protocol to go on with, of Upgrade; nil: none, or more than one.
	Upgrade []byte
	// Switches says that Connection names upgrade.
	Switches bool

	keepAlive bool
	nominates bool // Connection names fields
}

// Errors of the head of an answer.
var (
	// ErrAnswerBareLF: a line does not end in CR LF.
	ErrAnswerBareLF = errors.New("a line of the answer's head does not end in CR LF")
	// ErrAnswerTooLarge: the head has too many bytes or too many fields.
	ErrAnswerTooLarge = errors.New("the answer's head is too large")
	// ErrAnswerStatus: the first line is no status line.
	ErrAnswerStatus = errors.New("the answer has no proper status line")
	// ErrAnswerField: a field line is malformed.
	ErrAnswerField = errors.New("the answer has a malformed field")
	// ErrAnswerFraming: the end of the body can be read in no way, or in several.
	ErrAnswerFraming = errors.New("the answer does not say in one way where its body ends")
)

// AnswerEnd finds the end of the head of an answer in what has been read of it. from is how much of it
// was searched before, next how much has been now. end is 0 while the head is not whole.
func AnswerEnd(read []byte, from int) (end, next int, err error) {
	for {
		i := bytes.IndexByte(read[from:], '\n')
		if i < 0 {
			if len(read) >= MaxAnswerHead {
				return 0, from, ErrAnswerTooLarge
			}
			return 0, from, nil
		}
		at := from + i
		switch {
		case at == 0 || read[at-1] != '\r':
			return 0, from, ErrAnswerBareLF
		case i == 1:
			return at + 1, at + 1, nil
		case at >= MaxAnswerHead:
			return 0, from, ErrAnswerTooLarge
		}
		from = at + 1
	}
}

// Parse reads a whole head, strictly: what could be read in two ways is an error. head is kept.
func (a *Answer) Parse(head []byte) error {
	*a = Answer{Length: -1}
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return ErrAnswerBareLF
	}
	if !a.parseStatus(head[:end-1]) {
		return ErrAnswerStatus
	}
	a.Fields = head[end+1:]
	lengths, codings, upgrades, count := 0, 0, 0, 0
	for scan := (fieldScanner{rest: a.Fields}); scan.next(); count++ {
		if count == MaxAnswerFields {
			return ErrAnswerTooLarge
		}
		if !IsToken(scan.name) || !IsValue(scan.value) {
			return ErrAnswerField
		}
		switch {
		case EqualFold(scan.name, "content-length"):
			length, ok := ParseLength(scan.value)
			if lengths++; !ok {
				return ErrAnswerFraming
			}
			a.Length = length
		case EqualFold(scan.name, "transfer-encoding"):
			if codings++; !EqualFold(scan.value, "chunked") {
				return ErrAnswerFraming
			}
			a.Chunked = true
		case EqualFold(scan.name, "connection"):
			a.readConnection(scan.value)
		case EqualFold(scan.name, "date"):
			a.Dated = true
		case EqualFold(scan.name, "upgrade"):
			if upgrades++; upgrades == 1 {
				a.Upgrade = scan.value
			} else {
				a.Upgrade = nil
			}
		}
	}
	if lengths > 1 || codings > 1 || lengths+codings > 1 || codings > 0 && a.HTTP10 {
		return ErrAnswerFraming
	}
	a.Closes = a.Closes || a.HTTP10 && !a.keepAlive
	return nil
}

// parseStatus reads the status line. A reason phrase may be empty, and so may the space
// before it; servers leave out both.
func (a *Answer) parseStatus(line []byte) bool {
	const begin = len("HTTP/1.1 200")
	if len(line) < begin || string(line[:7]) != "HTTP/1." || line[8] != ' ' {
		return false
	}
	switch line[7] {
	case '1':
	case '0':
		a.HTTP10 = true
	default:
		return false
	}
	for _, b := range line[9:12] {
		if b < '0' || b > '9' {
			return false
		}
		a.Status = a.Status*10 + int(b-'0')
	}
	if rest := line[begin:]; len(rest) > 0 {
		if rest[0] != ' ' || !IsValue(rest) {
			return false
		}
		a.Reason = rest[1:]
	}
	return a.Status >= 100 && a.Status <= 599
}

func (a *Answer) readConnection(list []byte) {
	for len(list) > 0 {
		var option []byte
		option, list = NextItem(list)
		switch {
		case EqualFold(option, "close"):
			a.Closes = true
		case EqualFold(option, "keep-alive"):
			a.keepAlive = true
		case EqualFold(option, "upgrade"):
			a.Switches = true
		case len(option) > 0:
			a.nominates = true
		}
	}
}

// Bodyless says whether no body follows, whatever the fields say (RFC 9112 6.3). head says that the
// request was HEAD.
func (a *Answer) Bodyless(head bool) bool {
	return head || a.Status == 204 || a.Status == 304 || a.Status < 200
}

const statusUpgradeRequired = 426

// AppendUpgrade appends what a client must be told of the protocol that it should go on with
// (RFC 9110 15.5.22). Of other answers Upgrade is between the deck and the router.
func (a *Answer) AppendUpgrade(dst []byte) []byte {
	if a.Status != statusUpgradeRequired {
		return dst
	}
	named := false
	for scan := (fieldScanner{rest: a.Fields}); scan.next(); {
		if EqualFold(scan.name, "upgrade") {
			dst, named = append(dst, scan.raw...), true
		}
	}
	if named {
		dst = append(dst, "Connection: Upgrade\r\n"...)
	}
	return dst
}

// AppendFields appends the field lines that the client receives, byte for byte: all but
// those that are for the deck's connection only, and X-Grid-*, which is the router's to say.
func (a *Answer) AppendFields(dst []byte) []byte {
	for scan := (fieldScanner{rest: a.Fields}); scan.next(); {
		if a.passes(scan.name) {
			dst = append(dst, scan.raw...)
		}
	}
	return dst
}

func (a *Answer) passes(name []byte) bool {
	switch name[0] | 0x20 { // only these begin the name of a field that does not pass
	case 'c', 'k', 'p', 't', 'u', 'x':
		for _, dropped := range [...]string{"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer",
			"transfer-encoding", "upgrade"} {
			if EqualFold(name, dropped) {
				return false
			}
		}
		const grid = "x-grid-"
		if len(name) >= len(grid) && EqualFold(name[:len(grid)], grid) {
			return false
		}
		if (a.Status == 204 || a.Status < 200) && EqualFold(name, "content-length") { // RFC 9110 8.6
			return false
		}
	}
	return !a.nominates || !a.nominated(name)
}

// nominated says whether Connection names the field as for the deck's connection only.
// What frames the body cannot be named away.
func (a *Answer) nominated(name []byte) bool {
	if EqualFold(name, "content-length") {
		return false
	}
	for scan := (fieldScanner{rest: a.Fields}); scan.next(); {
		if !EqualFold(scan.name, "connection") {
			continue
		}
		for list := scan.value; len(list) > 0; {
			var option []byte
			if option, list = NextItem(list); SameName(option, name) {
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
	s.name, s.value = line[:colon], TrimSpace(line[colon+1:])
	return true
}
