package table

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"gridrouter.io/bench/report"
)

func small(t *testing.T) Config {
	t.Helper()
	return Config{
		Tenants: LeastTenants, Pins: LeastPins, Policies: 20, Lookups: 1000, Seconds: 1, Dir: t.TempDir(), Commit: "abc",
		Etcd: func(dir, client, peer string) *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), os.Args[0], client, peer)
			cmd.Env = append(os.Environ(), childDir+"="+dir)
			cmd.Stderr = os.Stderr
			return cmd
		},
	}
}

func TestRunMeasuresEveryPart(t *testing.T) {
	config := small(t)
	var told bytes.Buffer
	config.Progress = &told
	config.Profiles = t.TempDir()
	report, err := Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, row := range report.Rows {
		all = append(all, row.What)
	}
	listed := strings.Join(all, "\n")
	for _, want := range []string{
		"load of all tenants", "lookup, random hosts, p50", "lookup, random hosts, p99", "one tenant's update among 1000", "1000 updates at once among 1000",
		"1000 pins, bytes each", "from the snapshot", "from etcd", "put into etcd to effect on 8 followers, p99", "wrong answers meanwhile",
	} {
		if !strings.Contains(listed, want) {
			t.Errorf("nothing says %q among\n%s", want, listed)
		}
	}
	for _, part := range Parts() {
		if !strings.Contains(told.String(), " "+part+"\n") {
			t.Errorf("%s was not announced", part)
		}
	}
	left, err := os.ReadDir(config.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if profiles, err := os.ReadDir(config.Profiles); err != nil || len(profiles) < 8 {
		t.Errorf("profiles: %v, %v", profiles, err)
	}
}

func TestOnlySomePartsAreRun(t *testing.T) {
	config := small(t)
	config.Only = []string{"lookup"}
	config.Etcd = nil
	report, err := Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range report.Rows {
		if !strings.Contains(row.What, "lookup") && !strings.Contains(row.What, "random read") {
			t.Errorf("%s was measured", row.What)
		}
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		config := small(t)
		change(&config)
		if _, err := Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(c *Config) { c.Only = []string{"memry"} }, `there is no part "memry"`)
	f(func(c *Config) { c.Tenants = 10 }, "10 tenants are too few")
	f(func(c *Config) { c.Pins = 10 }, "10 pins are too few")
	f(func(c *Config) { c.Policies = 2000 }, "1 to 1000 policies")
	f(func(c *Config) { c.Seconds = 0 }, "at least one lookup and one second")
	f(func(c *Config) {
		c.Only = []string{"etcd"}
		c.Etcd = func(string, string, string) *exec.Cmd { return exec.CommandContext(t.Context(), "/bin/false") }
	}, "etcd ended at once")
}

func TestOnlyCountsCanFailARun(t *testing.T) {
	r := &Report{}
	r.judge("slow", "ms", 1000, 10, 1)
	if missed := r.Missed(); len(missed) > 0 {
		t.Errorf("a time failed the run: %v", missed)
	}
	r.judge("heavy", "B", 101, 100, 60).Counted = true
	r.judge("light", "B", 99, 100, 60).Counted = true
	if missed := r.Missed(); len(missed) != 1 || missed[0] != "heavy: 101 B, at most 100 B" {
		t.Errorf("missed are %q", missed)
	}
}

func TestReportIsWrittenForPeopleAndPrograms(t *testing.T) {
	r := &Report{Machine: report.Machine{CPU: "abacus", Cores: 2}}
	r.judge("lookup", "ns", 75.26, 120, 80)
	r.judge("start", "s", 0.5, 1, 0.25)
	r.judge("update", "us", 3.14159, 3, 3)
	r.inform("file", "MB", 43)
	r.note("made up")
	var out bytes.Buffer
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(out.String(), "\n\n")
	const want = `WHAT    BAR     STRETCH  MEASURED  MET
lookup  120 ns  80 ns    75.3 ns   stretch
start   1 s     0.25 s   0.50 s    yes
update  3 us    3 us     3.14 us   no
file    -       -        43 MB     -

- made up
`
	if table != want {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
	out.Reset()
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(out.Bytes(), &again); err != nil || len(again.Rows) != 4 || *again.Rows[0].Bar != 120 {
		t.Errorf("the JSON reads as %+v, %v", again, err)
	}
}
