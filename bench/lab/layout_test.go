package lab_test

import (
	"testing"

	"gridrouter.io/bench/lab"
)

func TestBlockIsThreeNumbersOfLoopback(t *testing.T) {
	f := func(block string, good bool) {
		t.Helper()
		layout, err := lab.NewLayout(block)
		if (err == nil) != good {
			t.Errorf("NewLayout(%q): %v", block, err)
		}
		if err == nil && layout.Net() != block {
			t.Errorf("NewLayout(%q).Net() is %q", block, layout.Net())
		}
	}
	f("127.77.0", true)
	f("127.255.255", true)
	f("127.0.0", false) // the machine's own
	f("127.0.00", false)
	f("10.0.0", false)
	f("127.77", false)
	f("127.77.0.1", false)
	f("127.77.256", false)
	f("127.77.0.", false)
	f("::1", false)
	f("", false)
}

func TestDocumentsMoveToTheBlock(t *testing.T) {
	layout, err := lab.NewLayout("127.88.9")
	if err != nil {
		t.Fatal(err)
	}
	got := layout.Rewrite("addresses: [127.77.0.21:8080, 127.77.01.2]")
	if want := "addresses: [127.88.9.21:8080, 127.77.01.2]"; got != want {
		t.Errorf("rewritten: %q, not %q", got, want)
	}
}
