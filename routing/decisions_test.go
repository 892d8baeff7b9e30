package routing_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"gridrouter.io/routing/routingtest"
)

var update = flag.Bool("update", false, "rewrite the expected explanations of the decision goldens")

// TestDecisions holds decisions, and how they are explained, to the files in
// testdata/decisions. Each has documents, then requests and what explain says of them,
// side by side. -update rewrites the latter; of a new request it has to be there, empty.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob("testdata/decisions/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no goldens", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			checkDecisions(t, archive)
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func checkDecisions(t *testing.T, archive *txtar.Archive) {
	t.Helper()
	var g *routingtest.Grid
	asked, unexplained := "", ""
	want := func() {
		if unexplained != "" {
			t.Errorf("%q has no line \"-- explain --\" behind it: write it, and run with -update", unexplained)
		}
	}
	defer want()
	for i := range archive.Files {
		file := &archive.Files[i]
		switch {
		case file.Name == "documents":
			g = routingtest.NewGrid(t, string(file.Data))
			if problems := g.Problems(); problems != "" {
				t.Logf("problems: %s", problems)
			}
		case strings.HasPrefix(file.Name, "request"):
			want()
			asked, unexplained = string(file.Data), file.Name
		case file.Name == "explain":
			unexplained = ""
			explanation := g.Table.Explain(routingtest.Request(t, asked))
			explanation.Hash, explanation.Revision = "", 1
			got := strings.TrimSuffix(explanation.Text(), "table     revision 1, hash \n")
			if decided := routingtest.Outcome(g.Table.Decide(routingtest.Request(t, asked))); decided != explanation.Deck && decided != string(explanation.Fault) {
				t.Errorf("%s: decided %s, explained %s%s", asked, decided, explanation.Deck, explanation.Fault)
			}
			if *update {
				file.Data = []byte(got)
			} else if !bytes.Equal(file.Data, []byte(got)) {
				t.Errorf("request\n%swas explained as\n%swant\n%s", asked, got, file.Data)
			}
		}
	}
}
