package compare

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/load"
	"gridrouter.io/bench/report"
	"gridrouter.io/bench/testkit"
)

func TestBadConfigurationsAreRefused(t *testing.T) {
	good := Config{Hosts: LeastHosts, Rounds: 1, Slice: time.Second, Idle: 1, Updates: 1, Router: "x", Dir: "y"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"no part":      func(c *Config) { c.Only = []string{"smal"} },
		"no peer":      func(c *Config) { c.Peers = []string{"iis"} },
		"hosts":        func(c *Config) { c.Hosts = 1 },
		"rounds":       func(c *Config) { c.Rounds = 0 },
		"in 1ms":       func(c *Config) { c.Slice = time.Millisecond },
		"idle":         func(c *Config) { c.Idle = 0 },
		"binary":       func(c *Config) { c.Router = "" },
		"and a folder": func(c *Config) { c.Dir = "" },
	} {
		config := good
		change(&config)
		if err := config.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestRatiosAreOfPairsAndAgainstTheBetterOne(t *testing.T) {
	b := &bench{Config: Config{Rounds: 3}, report: &Report{}}
	arms := []*arm{{name: "gridrouter"}, {name: peerHAProxy}, {name: peerNginx}}
	taken := [][]sample{
		{{us: 10}, {us: 12}, {us: 11}},
		{{us: 20}, {us: 10}, {us: 11}},
		{{us: 10}, {us: 24}, {us: 22}},
	}
	row, compared := b.row("w", arms, taken, us, peerHAProxy, peerNginx)
	if !compared || *row.Ratio != (Spread{1, 1, 1.2}) || row.Ours != 11 || row.Peers[1].Value != 22 || row.Against != "the better of haproxy and nginx" {
		t.Errorf("%+v %+v", row, row.Ratio)
	}
	if row, compared = b.row("w", arms, taken, us, peerCaddy); compared || row.Ratio != nil {
		t.Errorf("compared with somebody who is not there: %+v", row)
	}
	b.add(row, false, 1, 1)
	if got := b.report.Rows[0]; got.Met != "" || got.Must != nil {
		t.Errorf("%+v is judged", got)
	}
}

func sample3() *Report {
	r := &Report{Machine: report.Machine{CPU: "abacus", Cores: 2}, Versions: []string{"haproxy 2.6"},
		Curves: []Curve{{"gridrouter", []float64{0, 50, 99}, []float64{100, 200, 900}}, {"haproxy", []float64{0, 50, 99}, []float64{90, 210, 800}}},
		Rates:  map[string][]float64{"gridrouter": {1000, 1100}, "haproxy": {900, 950}}}
	ratio := Spread{0.9, 0.8, 1}
	r.judge(Row{What: "CPU <a request>", Unit: "us", Ours: 12, Peers: []Value{{"haproxy", 13.3}}, Ratio: &ratio, Against: "haproxy"}, 1.1, 0.95)
	r.judge(Row{What: "allocations", Ours: 1, Counted: true}, 0, 0)
	r.judge(Row{What: "slow", Unit: "us", Ours: 9}, 5, 1)
	r.note("said once")
	r.note("said once")
	return r
}

func TestOnlyCountsCanFailARun(t *testing.T) {
	if got := sample3().Missed(); len(got) != 1 || got[0] != "allocations: 1, at most 0" {
		t.Errorf("%q", got)
	}
	for calls, want := range map[float64]int{6.5: 0, 7: 0, 8: 1} {
		r := &Report{}
		r.judge(Row{What: "calls", Ours: calls, Counted: true}, 6.5, 4.5)
		if got := r.Missed(); len(got) != want {
			t.Errorf("%g calls: %q", calls, got)
		}
	}
}

func TestTheReportIsWrittenInThreeForms(t *testing.T) {
	r := sample3()
	var table, text, page bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"abacus", "0.90 (0.80-1.00) of haproxy", "stretch", "haproxy 13.3", "- said once"} {
		if strings.Count(table.String(), want) != 1 {
			t.Errorf("%q is not in the table once:\n%s", want, table.String())
		}
	}
	if err := r.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(text.Bytes(), &again); err != nil || again.Rows[0].Ratio.Median != 0.9 {
		t.Errorf("%v %+v", err, again)
	}
	if err := r.Page().Write(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 of 3 goals", "CPU &lt;a request&gt;", `class="missed"`, "<polyline", "<rect", "Latency by percentile"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if strings.Contains(page.String(), "<a request>") || strings.Contains(page.String(), "NaN") || strings.Contains(page.String(), "Inf") {
		t.Error("the page holds what is no HTML, or no number")
	}
}

func TestProcessesAreMeasuredAsOneGroup(t *testing.T) {
	p, err := launch(t.TempDir(), "busy", "sh", "-c", "(while :; do :; done) & while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if err := p.await(t.Context(), func() bool { return len(p.members()) == 2 && p.cpu() > 50*time.Millisecond }); err != nil {
		t.Fatal(err)
	}
	if p.resident() < 4096 {
		t.Errorf("two shells hold %d bytes", p.resident())
	}
	p.stop()
	if left := p.members(); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

func TestAProcessThatEndsAtOnceIsToldWithItsWords(t *testing.T) {
	p, err := launch(t.TempDir(), "broken", "sh", "-c", "echo no such luck >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.await(t.Context(), func() bool { return false }); err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("%v", err)
	}
}

func TestSystemCallsAreCounted(t *testing.T) {
	if _, err := exec.LookPath("perf"); err != nil {
		if _, err := exec.LookPath("strace"); err != nil {
			t.Skip("neither perf nor strace is installed")
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root may look at other processes everywhere")
	}
	p, err := launch(t.TempDir(), "reader", "sh", "-c", "while read -r line; do :; done </dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	testkit.Eventually(t, "a thousand calls in 200 ms", func() bool {
		calls, by, err := p.calls(t.Context(), t.TempDir(), func() error { time.Sleep(200 * time.Millisecond); return nil })
		if err != nil {
			t.Fatalf("%d calls by %q, %v", calls, by, err)
		}
		return calls >= 1000
	})
}

func TestTheBaseLoadIsRight(t *testing.T) {
	b := &bench{Config: Config{Hosts: 1000, Slice: time.Second}}
	for _, a := range []*arm{{addr: "127.0.0.1:1"}, {addr: "127.0.0.1:1", one: true}} {
		config := b.base(a)
		if err := config.Check(); err != nil {
			t.Error(err)
		}
		if want := map[bool]int{false: decks, true: 1}[a.one]; len(config.Expect.Values) != want {
			t.Errorf("%d decks are expected, want %d", len(config.Expect.Values), want)
		}
	}
	if got := len(hostName(7)); got != 30 {
		t.Errorf("hosts have %d bytes, want 30", got)
	}
	if pattern, _ := load.Pattern(hostPattern, 1000); string(pattern.Append(nil, 7)) != hostName(7) {
		t.Error("the load asks for other hosts than the router holds")
	}
}
