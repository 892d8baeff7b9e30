package http1

import (
	"bytes"
	"errors"
	"fmt"
)

// shownBytes is how much of a bad line is shown.
const shownBytes = 60

// DescribeBadAnswer says what an error of [AnswerEnd] or [Answer.Parse] is about, and names the line
// of the head. Of a field it shows the name alone.
func DescribeBadAnswer(err error, head []byte) string {
	if errors.Is(err, ErrAnswerTooLarge) {
		return err.Error()
	}
	for number, rest := 1, head; len(rest) > 0; number++ {
		end := bytes.IndexByte(rest, '\n')
		line := rest
		if end >= 0 {
			line, rest = rest[:end+1], rest[end+1:]
		} else {
			rest = nil
		}
		if badLine(err, number, line) {
			name, _, _ := bytes.Cut(line, []byte(":"))
			return fmt.Sprintf("%v: line %d, %q", err, number, name[:min(len(name), shownBytes)])
		}
	}
	return err.Error()
}

// badLine says whether it is this line that an error of a head is about.
func badLine(err error, number int, line []byte) bool {
	text, proper := bytes.CutSuffix(line, []byte("\r\n"))
	name, value, found := bytes.Cut(text, []byte(":"))
	value = TrimSpace(value)
	switch {
	case errors.Is(err, ErrAnswerBareLF):
		return !proper
	case errors.Is(err, ErrAnswerStatus):
		return number == 1
	case number == 1 || len(text) == 0:
		return false
	case errors.Is(err, ErrAnswerFraming):
		return EqualFold(name, "content-length") || EqualFold(name, "transfer-encoding")
	}
	return !found || !IsToken(name) || !IsValue(value)
}
