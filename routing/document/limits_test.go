package document_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"gridrouter.io/routing/document"
)

func TestLimitsAreNamed(t *testing.T) {
	pin := "kind: Pin\ntenant: acme\nkey: \"1\"\ndeck: east\n"
	f := func(name, file, text, want string) {
		t.Helper()
		start := processorTime(t)
		parsed, err := document.NewReader().ReadFile(file, []byte(text))
		if err == nil && len(parsed) > 0 {
			err = parsed[0].Err
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %.300v; want %q", name, err, want)
		}
		if err != nil && len(err.Error()) > (document.MaxErrors+1)*600 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
		if took := processorTime(t) - start; took > 20*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
	nest := func(open, shut string, depth int) string {
		return strings.Repeat(open, depth) + strings.Repeat(shut, depth)
	}
	f("deep flow list", "a.yaml", "kind: "+nest("[", "]", 40), "nests deeper than 32")
	f("very deep flow list", "a.yaml", "kind: "+nest("[", "]", 9_000), "nests deeper than 32")
	f("too deep for the parser", "a.yaml", "kind: "+nest("[", "]", 500_000), "max depth")
	f("deep flow mapping", "a.yaml", "kind: "+nest("{a: ", "}", 40), "nests deeper than 32")
	f("deep block list", "a.yaml", "kind:\n  "+strings.Repeat("- ", 40)+"a", "nests deeper than 32")
	f("deep JSON", "a.json", `{"kind": `+nest("[", "]", 500_000), "nests deeper than 32")
	f("deep JSON objects", "a.json", strings.Repeat(`{"a":`, 1000), "nests deeper than 32")
	f("large YAML", "a.yaml", pin+"# "+strings.Repeat("x", 1<<20), "more than 1048576 bytes")
	f("large YAML before a good one", "a.yaml", "kind: \""+strings.Repeat("x", 1<<20)+"\"\n---\n"+pin, "more than 1048576 bytes")
	f("large JSON", "a.json", `{"kind": "Pin", "key": "`+strings.Repeat("x", 1<<20)+`"}`, "more than 1048576 bytes")
	f("large JSON of small parts", "a.json", `[`+strings.Repeat("1,", 1<<20), "more than 1048576 bytes")
	f("large by its escapes", "a.yaml", pin+"zone: \""+strings.Repeat(`\x01`, 200_000)+`"`, "unknown field")
	f("long unknown name", "a.json", `{"kind": "Pin", "`+strings.Repeat("x", 1<<19)+`": 1}`, "unknown field")
	f("long host", "a.json", `{"kind": "Tenant", "hosts": ["`+strings.Repeat("ü", 1<<18)+`"]}`, "hosts[0]")
	f("many fields", "a.json", `{"kind": "Pin"`+strings.Repeat(`,"x":1`, 100_000)+"}", "more")
	f("many documents", "a.yaml", strings.Repeat("---\n{}\n", document.MaxDocuments+1), "more than 100000 documents")
	f("many JSON documents", "a.json", strings.Repeat("{}", document.MaxDocuments+1), "more than 100000 documents")
	f("not UTF-8", "a.yaml", pin+"# \xff", "not UTF-8")
	f("UTF-16", "a.yaml", "\xff\xfek\x00", "not UTF-8")
	f("byte order mark", "a.yaml", "\uFEFF"+pin, "")
	f("byte order mark in JSON", "a.json", "\uFEFF"+`{"kind":"Pin","tenant":"acme","key":"1","deck":"east"}`, "")
	f("carriage returns", "a.yaml", strings.ReplaceAll(pin+"---\n"+pin, "\n", "\r\n"), "")
	f("documents parted by bare carriage returns", "a.yaml", strings.ReplaceAll(pin+"---\n"+pin, "\n", "\r"), "U+000D")
	f("other line breaks", "a.yaml", pin+"zone: \"a\u2028b\"", "U+2028")
	f("nothing", "a.yaml", "", "")
}

func TestAnAliasBombIsReadInNoTime(t *testing.T) {
	var b strings.Builder
	b.WriteString("kind: Tenant\nx0: &x0 [a, a]\n")
	for i := 1; i < 1000; i++ {
		fmt.Fprintf(&b, "x%d: &x%d [*x%d, *x%d]\n", i, i, i-1, i-1)
	}
	before := processorTime(t)
	parsed, err := document.NewReader().ReadFile("bomb.yaml", []byte(b.String()))
	if err != nil || len(parsed) != 1 || parsed[0].Err == nil {
		t.Fatalf("got %v, %v; want one bad document", parsed, err)
	}
	if took := processorTime(t) - before; took > 10*time.Second {
		t.Errorf("it took %s of processors", took)
	}
}

// processorTime is what the process has used of processors so far, which does not grow while it waits
// for one.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
