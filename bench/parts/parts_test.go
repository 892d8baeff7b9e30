package parts_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"gridrouter.io/bench/parts"
)

// log is what the parts of the tests work on: the names of those that ran.
type log struct{ ran []string }

var errBroken = errors.New("broken")

// some are three parts, the second of which fails where it is asked for alone or after the first.
func some() parts.Parts[*log] {
	note := func(name string, err error) parts.Part[*log] {
		return parts.Part[*log]{Name: name, Run: func(on *log, _ context.Context) error {
			on.ran = append(on.ran, name)
			return err
		}}
	}
	return parts.Parts[*log]{note("a", nil), note("b", errBroken), note("c", nil)}
}

func TestPartsRunInTheirOrderUntilOneFails(t *testing.T) {
	f := func(only, want []string, wantErr string) {
		t.Helper()
		var on log
		var told []string
		err := some().Run(t.Context(), &on, only, func(name string) { told = append(told, name) })
		if got := text(err); !slices.Equal(on.ran, want) || !slices.Equal(told, want) || got != wantErr {
			t.Errorf("only %v: ran %v, told %v, %q", only, on.ran, told, got)
		}
	}
	f(nil, []string{"a", "b"}, "b: broken")
	f([]string{"c", "a"}, []string{"a", "c"}, "")
	f([]string{"b"}, []string{"b"}, "b: broken")
}

func TestNoPartRunsAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var on log
	if err := some().Run(ctx, &on, nil, func(string) {}); !errors.Is(err, context.Canceled) || !slices.Equal(on.ran, []string{"a"}) {
		t.Errorf("%v, ran %v", err, on.ran)
	}
}

func TestANameOfNoPartIsRefused(t *testing.T) {
	if err := some().Check([]string{"a", "c"}); err != nil {
		t.Error(err)
	}
	if got, want := text(some().Check([]string{"a", "d"})), `there is no part "d"; name some of a, b, c`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
