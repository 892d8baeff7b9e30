package routing

import (
	"fmt"
	"time"
)

// Duration is a time span that documents write as Go does: "250ms", "1s", "1m30s".
// The zero Duration means "not given". It is not negative in a valid document.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d as documents write it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses a span without a
// unit and a negative one.
func (d *Duration) UnmarshalText(text []byte) error {
	span, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number and a unit, such as 500ms, 2s or 1m30s", text)
	}
	if span < 0 {
		return fmt.Errorf("%q is negative; a duration is 0s or more", text)
	}
	*d = Duration(span)
	return nil
}
