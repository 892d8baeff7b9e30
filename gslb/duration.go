package gslb

import (
	"fmt"
	"time"
)

// A Duration is a span of time that documents write as text, such as "2s" or "1m30s".
type Duration time.Duration

// String returns the text form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns the text form, which JSON writes as a string.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form. A bare number has no unit, and is refused.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number with its unit, as in 500ms, 2s or 1m", text)
	}
	*d = Duration(parsed)
	return nil
}
