package http1

import (
	"bytes"
	"errors"
)

// Errors of a head that cannot be framed.
var (
	// ErrBareLF: a line does not end in CR LF.
	ErrBareLF = errors.New("a line of the head does not end in CR LF")
	// ErrBareCR: a line begins with a CR that no LF follows.
	ErrBareCR = errors.New("a line of the head begins with a CR")
	// ErrLineTooLong: the first line is longer than the limit.
	ErrLineTooLong = errors.New("the first line of the head is too long")
	// ErrHeadTooLarge: the field lines are larger than the limit.
	ErrHeadTooLarge = errors.New("the field lines of the head are too large")
)

// HeadFinder finds the end of one head, in bytes that come piece by piece. The zero value is at
// the beginning; its limits are in bytes and must be set.
type HeadFinder struct {
	// MaxLine bounds the first line with its end, MaxFields all field lines.
	MaxLine, MaxFields int

	begins   int // where the line that is being read begins
	searched int // how much of it all has been looked at
	line     int // length of the first line with its end; 0: it is not whole
}

// Find looks for the end of the head in all that was received of it so far. end is the
// length of the head with its empty line; 0 while that has not come. An error is final.
func (h *HeadFinder) Find(read []byte) (end int, err error) {
	for {
		i := bytes.IndexByte(read[h.searched:], '\n')
		if i < 0 {
			h.searched = len(read)
			return 0, h.check(len(read))
		}
		at := h.searched + i
		length := at - h.begins // of the line, without its LF
		if at == 0 || read[at-1] != '\r' {
			return 0, ErrBareLF
		}
		if err := h.check(at + 1); err != nil {
			return 0, err
		}
		first := read[h.begins]
		h.begins, h.searched = at+1, at+1
		switch {
		case h.line == 0:
			h.line = at + 1
		case length == 1:
			return at + 1, nil
		case first == '\r':
			return 0, ErrBareCR // somebody might take it for the end of the head
		}
	}
}

// check says which limit is passed if the head has at least n bytes.
func (h *HeadFinder) check(n int) error {
	switch {
	case h.line == 0 && n > h.MaxLine:
		return ErrLineTooLong
	case h.line > 0 && n-h.line > h.MaxFields:
		return ErrHeadTooLarge
	}
	return nil
}

// Line returns the length of the first line with its CR LF; 0 while that has not come.
func (h *HeadFinder) Line() int { return h.line }

// Restart makes h ready for the next head.
func (h *HeadFinder) Restart() { h.begins, h.searched, h.line = 0, 0, 0 }
