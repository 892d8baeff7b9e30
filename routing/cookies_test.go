package routing

import "testing"

// TestCookiesOnSeveralLinesAreReadAsOne tries where a cookie may stand, and stand twice.
func TestCookiesOnSeveralLinesAreReadAsOne(t *testing.T) {
	f := func(want string, result keyResult, lines ...string) {
		t.Helper()
		var h header
		for _, line := range lines {
			h = append(h, "x-other", "id=9", "cookie", line)
		}
		r := Request{Fields: h}
		if got, as := r.cookieValue("id"); string(got) != want || as != result {
			t.Errorf("%q: got %q %d, want %q %d", lines, got, as, want, result)
		}
	}
	f("", keyAbsent)
	f("", keyAbsent, "a=1")
	f("", keyAbsent, "a=1", "b=2")
	f("7", keyFound, "id=7")
	f("7", keyFound, "id=7", "b=2")
	f("7", keyFound, "a=1", "id=7")
	f("7", keyFound, "a=1; b=2", "", "c=3; id=7; d=4", ";;")
	f("", keyFound, "a=1", "id=")
	f("", keyAmbiguous, "id=7; id=7")
	f("", keyAmbiguous, "id=7", "id=7")
	f("", keyAmbiguous, "id=7", "a=1", "b=2; id=8")
	f("", keyAmbiguous, "id=", "id=")
	f("", keyAmbiguous, "a=1", "id=7; id=8")
	f("", keyAmbiguous, "id=7", "id=8; id=9")
	f("", keyAbsent, "ID=7", "id", "idx=7", "xid=7") // names are exact
	f(`"7"`, keyFound, "a=1", `id="7"`)
	if got, as := (&Request{}).cookieValue("id"); got != nil || as != keyAbsent {
		t.Errorf("without fields: %q %d", got, as)
	}
}
