package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gridrouter.io/bench/table"
	"gridrouter.io/cmd/flags"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gridbench runs the command and returns its exit status and outputs.
func gridbench(t *testing.T, args ...string) (status int, out, errors string) {
	t.Helper()
	root := newRootCommand()
	var stdout, stderr bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	status = flags.Main(t.Context(), root)
	return status, stdout.String(), stderr.String()
}

func TestTableIsMeasuredAndPrinted(t *testing.T) {
	status, out, errors := gridbench(t, "table", "--only", "memory", "--tenants", "1000", "--policies", "10", "--dir", t.TempDir())
	if status != flags.ExitClean || !strings.Contains(out, "load of all tenants from memory") || !strings.HasSuffix(errors, " memory\n") {
		t.Errorf("status %d\n%s\n%s", status, out, errors)
	}
	status, out, errors = gridbench(t, "table", "--only", "memory", "--tenants", "1000", "--policies", "10", "--dir", t.TempDir(), "-o", "json", "-q")
	var report table.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != flags.ExitClean || len(report.Rows) == 0 || errors != "" {
		t.Errorf("status %d, %v\n%s\n%s", status, err, out, errors)
	}
}

func TestWhatCannotBeMeasuredIsBadUsage(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		status, out, errors := gridbench(t, append([]string{"table"}, args...)...)
		if status != flags.ExitUsage || out != "" || !strings.Contains(errors, want) {
			t.Errorf("status %d, want %q\n%s\n%s", status, want, out, errors)
		}
	}
	f("--tenants: 3 is too few; write at least 1000", "--tenants", "3")
	f("--pins: -1 is too few", "--pins", "-1")
	f("--policies: 1001 is not between 1 and 1000", "--policies", "1001")
	f(`--only: there is no part "cpu"`, "--only", "cpu")
	f(`--output: "xml" is neither table nor json`, "-o", "xml")
}

func TestShortMeasuresLess(t *testing.T) {
	f := &tableFlags{short: true, output: "table", config: table.Config{Policies: 1, Pins: 5000}}
	if err := f.complete(); err != nil {
		t.Fatal(err)
	}
	if f.config.Tenants != 100_000 || f.config.Pins != 5000 || f.config.Seconds != 3 {
		t.Errorf("--short measures %+v", f.config)
	}
}
