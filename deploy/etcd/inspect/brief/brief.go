// Package brief keeps results small enough to stand in the status of an object and to be shown to people: text
// is clipped and made printable, lists are cut until the whole fits.
//
// What it is given comes from etcd, so it may be anything: keys are bytes, messages are of any length.
package brief

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// MostBytes is how large a result may be as JSON.
	MostBytes = 16 << 10
	// mostText is the longest text, in bytes: a message, or a key.
	mostText = 400
	mostKey  = 160
)

// Text returns a message as one printable line of at most 400 bytes. A longer one ends in "...".
func Text(message string) string { return clip(printable(message), mostText) }

// Error is [Text] of an error; empty for nil.
func Error(err error) string {
	if err == nil {
		return ""
	}
	return Text(err.Error())
}

// Short is [Error] in at most 100 bytes, for results with many of them.
func Short(err error) string { return clip(Error(err), 100) }

// Key returns a key for people, of at most 160 bytes. One that is no printable text, or would not be told from
// a quoted one, is quoted as in Go; one that is too long ends in its length.
func Key(key []byte) string {
	const tail = 24 // room for the length
	if len(key) > mostKey-tail {
		end := fmt.Sprintf("...(%d bytes)", len(key))
		return clip(plain(string(key[:mostKey-tail])), mostKey-tail) + end
	}
	return clip(plain(string(key)), mostKey)
}

func plain(key string) string {
	if !strings.HasPrefix(key, `"`) && key == printable(key) {
		return key
	}
	return strconv.Quote(key)
}

// printable replaces what is no printable rune by a space.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// clip cuts text to so many bytes, at the beginning of a rune.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most - len("...")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// Fit calls drop until result takes at most 16 KiB as JSON, or nothing is left to drop. Drop takes out what
// matters least, and says whether there was something. The result must be a pointer to what drop changes.
func Fit(result any, drop func() bool) error {
	for {
		text, err := json.Marshal(result)
		if err != nil {
			return fmt.Errorf("write the result as JSON: %w", err)
		}
		if len(text) <= MostBytes || !drop() {
			return nil
		}
	}
}

// DropLast takes the last entry out of the longest of the lists, and says whether there was one. It is what
// [Fit] is called with where the first entry matters most.
func DropLast[T any](lists ...*[]T) bool {
	var longest *[]T
	for _, list := range lists {
		if longest == nil || len(*list) > len(*longest) {
			longest = list
		}
	}
	if longest == nil || len(*longest) == 0 {
		return false
	}
	*longest = (*longest)[:len(*longest)-1]
	return true
}
