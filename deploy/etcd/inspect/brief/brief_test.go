package brief_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

func TestKeysAreShownToPeople(t *testing.T) {
	row := func(key, want string) {
		t.Helper()
		if got := brief.Key([]byte(key)); got != want {
			t.Errorf("%q is shown as %s, want %s", key, got, want)
		}
	}
	row("/a/b", "/a/b")
	row("", "")
	row("/ключ", "/ключ")
	row("a\x00b", `"a\x00b"`)
	row("\xff\xfe", `"\xff\xfe"`)
	row(`"quoted"`, `"\"quoted\""`)
	row(strings.Repeat("k", 500), strings.Repeat("k", 136)+"...(500 bytes)")
}

func TestMessagesAreOneLine(t *testing.T) {
	if got := brief.Text("a\nb\x00c"); got != "a b c" {
		t.Errorf("%q", got)
	}
	if got := brief.Text(strings.Repeat("ä", 1000)); len(got) > 400 || !utf8.ValidString(got) || !strings.HasSuffix(got, "...") {
		t.Errorf("%q", got)
	}
	if brief.Error(nil) != "" || brief.Error(errors.New("x")) != "x" {
		t.Error("errors are not told")
	}
}

func TestListsAreCutUntilAllFits(t *testing.T) {
	long, short := make([]string, 100), make([]string, 3)
	for i := range long {
		long[i] = strings.Repeat("<", 100) // six bytes each in JSON
	}
	result := struct{ Long, Short *[]string }{&long, &short}
	if err := brief.Fit(&result, func() bool { return brief.DropLast(&long, &short) }); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(result)
	if len(text) > brief.MostBytes || len(text) < brief.MostBytes-700 || len(short) != 3 {
		t.Errorf("%d bytes, %d and %d entries", len(text), len(long), len(short))
	}
	if brief.DropLast[string]() || brief.DropLast(new([]string)) {
		t.Error("something was dropped out of nothing")
	}
	if err := brief.Fit(make(chan int), nil); err == nil {
		t.Error("a channel was written as JSON")
	}
}

func FuzzKey(f *testing.F) {
	f.Add([]byte("/a/b"))
	f.Add([]byte{0, 0xff, '"', '\n'})
	f.Add([]byte(strings.Repeat("\x01", 300)))
	f.Fuzz(func(t *testing.T, key []byte) {
		for _, shown := range []string{brief.Key(key), brief.Text(string(key))} {
			if len(shown) > 400 || !utf8.ValidString(shown) || strings.ContainsAny(shown, "\n\r\x00") {
				t.Fatalf("%q is shown as %q", key, shown)
			}
		}
		if len(brief.Key(key)) > 160 {
			t.Fatalf("%q is shown in %d bytes", key, len(brief.Key(key)))
		}
	})
}
