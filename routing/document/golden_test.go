package document_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"gridrouter.io/routing/document"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// Each archive in testdata holds inputs, and after each the outcome in a file NAME.want.
func TestDocumentsGiveTheWrittenOutcome(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	cases := 0
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for _, file := range archive.Files {
			if input, ok := strings.CutSuffix(file.Name, ".want"); ok {
				want[input] = string(file.Data)
			}
		}
		out := &txtar.Archive{Comment: archive.Comment}
		for _, file := range archive.Files {
			if strings.HasSuffix(file.Name, ".want") {
				continue
			}
			cases++
			got := outcome(file.Name, file.Data)
			if diff := cmp.Diff(want[file.Name], got); diff != "" && !*update {
				t.Errorf("%s: %s: -want +got:\n%s", name, file.Name, diff)
			}
			out.Files = append(out.Files, file, txtar.File{Name: file.Name + ".want", Data: []byte(got)})
		}
		if *update {
			if err := os.WriteFile(name, txtar.Format(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cases < 60 {
		t.Errorf("only %d cases; there were more", cases)
	}
}

// outcome reads a file and writes down what came of it.
func outcome(name string, data []byte) string {
	var b bytes.Buffer
	parsed, err := document.NewReader().ReadFile(name, data)
	for _, doc := range parsed {
		if doc.Err == nil {
			fmt.Fprintf(&b, "%s %s\n  %s\n", doc.Origin, doc.Key, doc.JSON)
			continue
		}
		fmt.Fprintf(&b, "%s bad %s\n", doc.Origin, doc.Key)
		if _, rawErr := document.NewReader().Decode(doc.Key, doc.Raw); rawErr == nil {
			fmt.Fprintf(&b, "  BECAME GOOD in its raw form %s\n", doc.Raw)
		}
		for line := range strings.Lines(doc.Err.Error()) {
			fmt.Fprintf(&b, "  %s\n", strings.TrimRight(line, "\n"))
		}
	}
	if err != nil {
		fmt.Fprintf(&b, "error %v\n", err)
	}
	return b.String()
}
