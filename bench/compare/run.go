package compare

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/load"
	"gridrouter.io/bench/parts"
	"gridrouter.io/bench/report"
)

type htmlFigure = template.HTML

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// bench is a run in progress. One goroutine.
type bench struct {
	Config
	dir       string
	grid      *grid
	http      *http.Client
	etcd      *clientv3.Client
	processes []*process
	ours      *arm
	peers     map[string]*arm // those that are here
	epoch     int
	seed      uint64
	report    *Report

	saturated map[string]float64 // answers a second, by arm
	wrong     map[string]int64   // answers that failed or were wrong, by arm
	asked     map[string]int64   // all requests, by arm
}

// allParts are the pieces of a run.
func allParts() parts.Parts[*bench] {
	return parts.Parts[*bench]{
		{Name: "generator", Run: (*bench).generator},
		{Name: "small", Run: (*bench).small},
		{Name: "calls", Run: (*bench).calls},
		{Name: "bodies", Run: (*bench).bodies},
		{Name: "connections", Run: (*bench).connections},
		{Name: "tls", Run: (*bench).overTLS},
		{Name: "websocket", Run: (*bench).websocket},
		{Name: "idle", Run: (*bench).idle},
		{Name: "latency", Run: (*bench).latency},
		{Name: "updates", Run: (*bench).updates},
		{Name: "table", Run: (*bench).table},
	}
}

// Parts returns the names of the parts of a run, in the order in which they are run.
func Parts() []string { return allParts().Names() }

// Run compares, and returns what it found so far also beside an error. It takes the cores of
// the machine: run nothing else meanwhile.
func Run(ctx context.Context, config Config) (*Report, error) {
	out := &Report{Machine: report.DescribeMachine(config.Commit), Rates: map[string][]float64{}}
	if err := config.Check(); err != nil {
		return out, err
	}
	dir, err := os.MkdirTemp(config.Dir, "compare")
	if err != nil {
		return out, err
	}
	b := &bench{
		Config: config, dir: dir, report: out, epoch: 1, peers: map[string]*arm{},
		http:      &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute},
		saturated: map[string]float64{}, wrong: map[string]int64{}, asked: map[string]int64{},
	}
	err = b.all(ctx)
	b.stopAll()
	return out, errors.Join(err, os.RemoveAll(dir))
}

// stopAll ends what was started.
func (b *bench) stopAll() {
	if b.etcd != nil {
		_ = b.etcd.Close() // it reports its own context's end, nothing else
		b.etcd = nil
	}
	for _, p := range slices.Backward(b.processes) {
		p.stop()
	}
	b.processes = nil
}

func (b *bench) all(ctx context.Context) error {
	if len(b.Only) != 1 || b.Only[0] != "table" {
		if err := b.startAll(ctx); err != nil {
			return err
		}
	}
	if err := allParts().Run(ctx, b, b.Only, func(name string) { b.progress("%s", name) }); err != nil {
		return err
	}
	if b.ours != nil {
		b.reportWrong()
	}
	return nil
}

// startAll starts everybody, and checks that each answers rightly.
func (b *bench) startAll(ctx context.Context) error {
	b.describe()
	b.progress("starting decks, etcd with %d tenants, and the router", b.Hosts)
	if err := b.startGrid(ctx); err != nil {
		return err
	}
	var err error
	if b.ours, err = b.startRouter(ctx); err != nil {
		return err
	}
	b.report.Versions = append(b.report.Versions, b.ours.name+" "+b.ours.version)
	for _, name := range Peers() {
		if len(b.Peers) > 0 && !slices.Contains(b.Peers, name) {
			continue
		}
		b.progress("starting %s", name)
		peer, err := b.startPeer(ctx, name)
		if err != nil {
			return err
		}
		if peer == nil {
			b.report.note("%s is not installed here, so nothing is said of it", name)
			continue
		}
		b.peers[name] = peer
		b.report.Versions = append(b.report.Versions, peer.name+" "+peer.version)
	}
	return nil
}

func (b *bench) describe() {
	b.report.note("everybody on one machine, over loopback: the load generator and the decks take their part of the same cores. Loopback flatters who hands large bodies to the kernel without copying them (splice), since there is no card to feed")
	b.report.note("the router holds %d tenants with one host of 30 bytes each, from an etcd, with pins and a split by a header; HAProxy and nginx hold the same hosts in a map; Caddy and Traefik have one route that catches all. Access logs are off everywhere; the router's metrics are on", b.Hosts)
	b.report.note("CPU is user and system time of the proxy's processes, as the scheduler counts it, over right answers; %d rounds of %s for each arm, in turns, in random order, after one that is not counted", b.Rounds, b.Slice)
	b.report.note("every answer was checked: status, deck (by the host that was asked for), length and CRC-32C of the body; of uploads and WebSocket messages, what came back")
}

func (b *bench) launch(name string, argv ...string) (*process, error) {
	p, err := launch(b.dir, name, argv...)
	if err == nil {
		b.processes = append(b.processes, p)
	}
	return p, err
}

func (b *bench) progress(format string, args ...any) {
	if b.Progress != nil {
		_, _ = fmt.Fprintf(b.Progress, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...) // no report depends on it
	}
}

// reportWrong adds how many answers were wrong.
func (b *bench) reportWrong() {
	row := Row{What: "wrong or failed answers, of all the above", Ours: float64(b.wrong[b.ours.name]), Counted: true}
	for _, name := range Peers() {
		if b.asked[name] > 0 {
			row.Peers = append(row.Peers, Value{name, float64(b.wrong[name])})
		}
	}
	b.report.judge(row, 0, 0)
	b.report.note("%d requests went through the router", b.asked[b.ours.name])
}

// sample is what one turn of one arm gave.
type sample struct {
	us     float64 // of CPU, a request
	p99    float64 // us
	rate   float64
	result *load.Result
}

// base is the load of small answers over kept connections.
func (b *bench) base(a *arm) load.Config {
	hosts, err := load.Pattern(hostPattern, b.Hosts)
	keys, err2 := load.Pattern("{}", 1_000_000)
	if err := errors.Join(err, err2); err != nil {
		panic(err) // both are right as they stand
	}
	b.seed++
	config := load.Config{
		Addr: a.addr, Connections: 64, Duration: b.Slice, Hosts: hosts, KeyHeader: "X-User-Id", Keys: keys, Seed: b.seed,
		Headers: []string{"User-Agent: Mozilla/5.0 bench", "Accept: */*"}, Timeout: 30 * time.Second,
		Expect: load.Expect{Header: deckHeader},
	}
	for i := range decks {
		if config.Expect.Values = append(config.Expect.Values, fmt.Sprint("d", i)); a.one {
			break
		}
	}
	size(&config, 128)
	return config
}

// size asks for answers of that many bytes.
func size(config *load.Config, bytes int) {
	config.Path = fmt.Sprint("/", bytes)
	config.Expect.Body, config.Expect.BodyBytes, config.Expect.BodySum = true, int64(bytes), load.Sum(load.Body(bytes))
}

// measure lets an arm work for one slice.
func (b *bench) measure(ctx context.Context, a *arm, config load.Config) (sample, error) {
	var before time.Duration
	if a.process != nil {
		before = a.process.cpu()
	}
	result, err := load.Run(ctx, config)
	if err != nil {
		return sample{}, err
	}
	all := result.Requests + result.Failed()
	b.asked[a.name] += all
	b.wrong[a.name] += result.Failed()
	for _, kind := range result.Kinds() {
		b.report.note("%s: %d answers were wrong: %s, such as %q", a.name, result.Errors[kind], kind, result.Examples[kind])
	}
	if result.Requests == 0 {
		return sample{}, fmt.Errorf("%s gave not one right answer: %v", a.name, result.Examples)
	}
	s := sample{p99: result.Latency.P99, rate: result.Rate, result: result}
	if a.process != nil {
		s.us = float64((a.process.cpu() - before).Nanoseconds()) / 1e3 / float64(result.Requests)
	}
	return s, nil
}

// turns measures arms in turns, and returns the samples of each in the order of the rounds.
func (b *bench) turns(ctx context.Context, arms []*arm, configure func(*load.Config)) ([][]sample, error) {
	taken := make([][]sample, len(arms))
	for round := range b.Rounds + 1 {
		for _, i := range rand.Perm(len(arms)) { // back and forth, each first arm would be measured twice in a row
			config := b.base(arms[i])
			configure(&config)
			if config.TLS != nil {
				config.Addr = arms[i].tlsAddr
			}
			s, err := b.measure(ctx, arms[i], config)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				taken[i] = append(taken[i], s)
			}
		}
	}
	return taken, nil
}

// here returns the router and those of the peers that are here.
func (b *bench) here(names ...string) []*arm {
	arms := []*arm{b.ours}
	for _, name := range names {
		if a := b.peers[name]; a != nil {
			arms = append(arms, a)
		}
	}
	return arms
}

func us(s sample) float64  { return s.us }
func p99(s sample) float64 { return s.p99 }

func column(samples []sample, value func(sample) float64) []float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, value(s))
	}
	return values
}

// row makes a row of samples, in us, the router's first, with the ratio to one peer, or to the
// better of several in each round.
func (b *bench) row(what string, arms []*arm, taken [][]sample, value func(sample) float64, against ...string) (row Row, compared bool) {
	row = Row{What: what, Unit: "us", Ours: spreadOf(column(taken[0], value)).Median}
	best := make([]float64, b.Rounds)
	for i, a := range arms[1:] {
		values := column(taken[i+1], value)
		row.Peers = append(row.Peers, Value{a.name, spreadOf(values).Median})
		if !slices.Contains(against, a.name) {
			continue
		}
		compared = true
		for round, v := range values {
			if best[round] == 0 || v < best[round] {
				best[round] = v
			}
		}
		if row.Against != "" {
			row.Against = "the better of " + row.Against + " and " + a.name
		} else {
			row.Against = a.name
		}
	}
	if !compared {
		return row, false
	}
	ratios := column(taken[0], value)
	for round := range ratios {
		ratios[round] /= best[round]
	}
	spread := spreadOf(ratios)
	row.Ratio = &spread
	return row, true
}

// add judges a row where there is somebody to compare with; else it informs.
func (b *bench) add(row Row, compared bool, must, stretch float64) {
	if compared {
		b.report.judge(row, must, stretch)
	} else {
		b.report.Rows = append(b.report.Rows, row)
	}
}
