package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"gridrouter.io/bench/load"
)

// generator measures the load generator itself: what it costs, and up to which rate it keeps
// its schedule.
func (b *bench) generator(ctx context.Context) error {
	deck := b.grid.direct()
	saturated, err := b.measure(ctx, deck, b.base(deck))
	if err != nil {
		return err
	}
	honest := 0.0
	for share := 0.1; share < 1; share += 0.1 {
		config := b.base(deck)
		config.Rate, config.Arrivals = share*saturated.rate, load.Poisson
		s, err := b.measure(ctx, deck, config)
		if err != nil {
			return err
		}
		if len(s.result.Doubts) > 0 {
			break
		}
		honest = config.Rate
	}
	b.report.Rows = append(b.report.Rows,
		Row{What: "the generator itself: its CPU for a request", Unit: "us", Ours: saturated.result.CPUMicros},
		Row{What: "the generator itself: requests a second up to which it keeps its schedule", Ours: honest})
	b.report.note("the generator was measured against a deck without a proxy: as fast as answers came it got %.0f a second; the schedule was tried in tenths of that, and is kept while 99 of 100 requests are sent within a millisecond of when they are due", saturated.rate)
	return nil
}

// small compares small answers over kept connections, with all hosts in use.
func (b *bench) small(ctx context.Context) error {
	arms := append(b.here(Peers()...), b.ours) // twice: against itself it shows the noise
	taken, err := b.turns(ctx, arms, func(*load.Config) {})
	if err != nil {
		return err
	}
	again := taken[len(taken)-1]
	arms, taken = arms[:len(arms)-1], taken[:len(taken)-1]
	const what = "CPU a request: small answers, kept connections"
	row, compared := b.row(what, arms, taken, us, peerHAProxy, peerNginx)
	b.add(row, compared, 1.10, 0.95)
	for _, name := range []string{peerCaddy, peerTraefik} {
		if row, compared := b.row(what, arms, taken, us, name); compared {
			row.Peers = nil // they stand above
			b.report.judge(row, 0.35, 0.25)
		}
	}
	noise := column(taken[0], us)
	for round := range noise {
		noise[round] /= again[round].us
	}
	spread := spreadOf(noise)
	b.report.Rows = append(b.report.Rows, Row{What: "the same, the router against itself: the noise", Unit: "us",
		Ours: spreadOf(column(again, us)).Median, Ratio: &spread, Against: "itself"})
	for i, a := range arms {
		rates := column(taken[i], func(s sample) float64 { return s.rate })
		b.report.Rates[a.name], b.saturated[a.name] = rates, spreadOf(rates).Median
	}
	if b.Profile != "" {
		return b.profileMix(ctx)
	}
	return nil
}

// profileMix writes a profile of the router under small answers, bodies and new connections.
func (b *bench) profileMix(ctx context.Context) error {
	b.progress("a CPU profile of the router under the mix, 30 s")
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return b.profile(ctx, b.ours, 29, b.Profile) })
	group.Go(func() error {
		for _, turn := range []func(*load.Config){
			func(c *load.Config) { c.Duration = 16 * time.Second },
			func(c *load.Config) { c.Duration = 4 * time.Second; size(c, 64<<10) },
			func(c *load.Config) { c.Duration = 4 * time.Second; c.PerConnection = 1 },
			func(c *load.Config) { c.Duration = 3 * time.Second; upload(c) },
			func(c *load.Config) {
				c.Duration, c.Addr, c.TLS, c.HostPerConnection = 3*time.Second, b.ours.tlsAddr, b.grid.tls, true
			},
		} {
			config := b.base(b.ours)
			turn(&config)
			if _, err := b.measure(ctx, b.ours, config); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// upload sends a body with each request.
func upload(c *load.Config) {
	c.BodyBytes, c.Expect.ReceivedHeader = 4<<10, receivedHeader
}

// countedRequests is over how many requests allocations are counted. What connections and the
// router's own rounds allocate is shared by them: over a time instead, a slow machine would have
// each request bear more of it.
const countedRequests = 200_000

// calls counts what does not depend on the machine: allocations and system calls.
func (b *bench) calls(ctx context.Context) error {
	if _, err := b.measure(ctx, b.ours, b.base(b.ours)); err != nil { // pools fill
		return err
	}
	const mallocs = "go_memstats_mallocs_total"
	config := b.base(b.ours)
	config.Duration, config.Requests = 0, countedRequests
	first, err := b.metric(ctx, b.ours, mallocs)
	if err != nil {
		return err
	}
	before, err := b.metric(ctx, b.ours, mallocs)
	if err != nil {
		return err
	}
	reading := before - first // takes some itself
	s, err := b.measure(ctx, b.ours, config)
	if err != nil {
		return err
	}
	after, err := b.metric(ctx, b.ours, mallocs)
	if err != nil {
		return err
	}
	each := math.Max(0, after-before-reading) / float64(s.result.Requests)
	b.report.judge(Row{What: "heap allocations a request", Ours: math.Round(each*5) / 5, Counted: true}, 0, 0)
	b.report.note("allocations: %.4f a request, those of new connections, and of what a router does now and then, included: on a busy machine more connections to decks are made; rounded to a fifth for the goal, since what allocates at all does so once a request", each)
	row := Row{What: "system calls a request, at saturation", Counted: true}
	for _, a := range b.here(peerHAProxy, peerNginx) {
		var requests int64
		calls, by, err := a.process.calls(ctx, b.dir, func() error {
			s, err := b.measure(ctx, a, b.base(a))
			if err == nil {
				requests = s.result.Requests
			}
			return err
		})
		if errors.Is(err, errNoCounter) {
			b.report.note("system calls were not counted: %v", err)
			return nil
		} else if err != nil {
			return err
		}
		each := float64(calls) / float64(requests)
		if a == b.ours {
			row.Ours = each
			b.report.note("system calls are counted by %s", by)
		} else {
			row.Peers = append(row.Peers, Value{a.name, each})
		}
	}
	b.report.judge(row, 6.5, 4.5)
	return nil
}

// beside measures one load on the router, HAProxy and nginx, and judges the CPU.
func (b *bench) beside(ctx context.Context, what string, must, stretch float64, configure func(*load.Config)) ([][]sample, error) {
	arms := b.here(peerHAProxy, peerNginx)
	taken, err := b.turns(ctx, arms, configure)
	if err != nil {
		return nil, err
	}
	row, compared := b.row(what, arms, taken, us, peerHAProxy)
	b.add(row, compared, must, stretch)
	return taken, nil
}

func (b *bench) bodies(ctx context.Context) error {
	if _, err := b.beside(ctx, "CPU a request: 64 KiB answers", 1.10, 0.85, func(c *load.Config) { c.Connections = 32; size(c, 64<<10) }); err != nil {
		return err
	}
	if _, err := b.beside(ctx, "CPU a request: 1 MiB answers", 1.10, 0.85, func(c *load.Config) { c.Connections = 8; size(c, 1<<20) }); err != nil {
		return err
	}
	arms := b.here(peerHAProxy, peerNginx)
	taken, err := b.turns(ctx, arms, upload)
	if err != nil {
		return err
	}
	row, _ := b.row("CPU a request: uploads of 4 KiB", arms, taken, us, peerHAProxy)
	b.report.Rows = append(b.report.Rows, row)
	return nil
}

func (b *bench) connections(ctx context.Context) error {
	taken, err := b.beside(ctx, "CPU a request: a new connection for each", 1.3, 1.0, func(c *load.Config) { c.PerConnection = 1 })
	if err != nil {
		return err
	}
	rate := spreadOf(column(taken[0], func(s sample) float64 { return s.rate })).Median / 2
	arms := b.here(peerHAProxy, peerNginx)
	taken, err = b.turns(ctx, arms, func(c *load.Config) {
		c.PerConnection, c.Rate, c.Arrivals = 1, rate, load.Poisson
	})
	if err != nil {
		return err
	}
	row, compared := b.row(fmt.Sprintf("p99 of requests with a connection each, %.0f a second", rate), arms, taken, p99, peerHAProxy)
	b.add(row, compared, 1.5, 1.0)
	return nil
}

func (b *bench) overTLS(ctx context.Context) error {
	_, err := b.beside(ctx, "CPU a request: TLS 1.3, kept connections", 1.35, 1.1, func(c *load.Config) {
		c.TLS, c.HostPerConnection = b.grid.tls, true
	})
	return err
}

func (b *bench) websocket(ctx context.Context) error {
	_, err := b.beside(ctx, "CPU a message: WebSocket echo of 128 bytes", 1.2, 1.0, func(c *load.Config) {
		c.MessageBytes = 128
		c.Expect = load.Expect{}
	})
	return err
}

// idle measures what a connection costs that has served a request and waits for the next.
func (b *bench) idle(ctx context.Context) error {
	row := Row{What: fmt.Sprintf("memory of an idle connection, %d of them", b.Idle), Unit: "B", Counted: true}
	for _, a := range b.here(peerHAProxy, peerNginx) {
		bytes, err := b.idleBytes(ctx, a)
		if err != nil {
			return err
		}
		if a == b.ours {
			row.Ours = bytes
		} else {
			row.Peers = append(row.Peers, Value{a.name, bytes})
		}
	}
	b.report.judge(row, 6<<10, 1.1*1024)
	b.report.note("memory of idle connections: private pages of the processes, before and %s after all have served one request; the kernel's part is not in it", idleSettles)
	return nil
}

// idleSettles is how long memory may settle before it is read.
const idleSettles = 3 * time.Second

func (b *bench) idleBytes(ctx context.Context, a *arm) (float64, error) {
	if _, err := b.measure(ctx, a, b.base(a)); err != nil { // what is needed once is there then
		return 0, err
	}
	time.Sleep(idleSettles)
	before := a.process.resident()
	conns := make([]net.Conn, 0, b.Idle)
	defer func() {
		for _, conn := range conns {
			_ = conn.Close() // it served its purpose
		}
	}()
	for i := range b.Idle {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.addr)
		if err != nil {
			return 0, fmt.Errorf("idle connection %d to %s: %w", i, a.name, err)
		}
		conns = append(conns, conn)
		if err := ask(conn, hostName(i%b.Hosts)); err != nil {
			return 0, fmt.Errorf("idle connection %d to %s: %w", i, a.name, err)
		}
	}
	time.Sleep(idleSettles)
	return float64(a.process.resident()-before) / float64(b.Idle), nil
}

// ask makes one request on a connection.
func ask(conn net.Conn, host string) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET /128 HTTP/1.1\r\nHost: %s\r\nX-User-Id: 1\r\n\r\n", host); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the connection stays
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// latency compares what a proxy adds to the 99th percentile, in an open loop.
func (b *bench) latency(ctx context.Context) error {
	if b.saturated[b.ours.name] == 0 {
		for _, a := range b.here(peerHAProxy, peerNginx) {
			s, err := b.measure(ctx, a, b.base(a))
			if err != nil {
				return err
			}
			b.saturated[a.name] = s.rate
		}
	}
	arms := append(b.here(peerHAProxy, peerNginx), b.grid.direct())
	rate := b.saturated[b.ours.name]
	for _, a := range arms[:len(arms)-1] {
		rate = min(rate, b.saturated[a.name])
	}
	rate /= 2
	taken, err := b.turns(ctx, arms, func(c *load.Config) {
		c.Rate, c.Arrivals, c.Duration, c.Warmup = rate, load.Poisson, 2*b.Slice, b.Slice/4
	})
	if err != nil {
		return err
	}
	atRate, _ := b.row(fmt.Sprintf("CPU a request, open loop at %.0f a second", rate), arms[:len(arms)-1], taken[:len(taken)-1], us, peerHAProxy)
	b.report.Rows = append(b.report.Rows, atRate)
	direct := taken[len(taken)-1]
	for i, a := range arms {
		curve := Curve{Name: a.name}
		for at := range direct[0].result.Curve {
			var values []float64
			for _, s := range taken[i] {
				values = append(values, s.result.Curve[at].Micros)
			}
			curve.X = append(curve.X, direct[0].result.Curve[at].Percentile)
			curve.Micros = append(curve.Micros, spreadOf(values).Median)
		}
		b.report.Curves = append(b.report.Curves, curve)
		for _, s := range taken[i] {
			for _, doubt := range s.result.Doubts {
				b.report.note("latency of %s: %s", a.name, doubt)
			}
		}
	}
	for i := range taken[:len(taken)-1] {
		for round := range taken[i] {
			taken[i][round].p99 = math.Max(taken[i][round].p99-direct[round].p99, 1)
		}
	}
	row, compared := b.row(fmt.Sprintf("added to the p99, open loop at %.0f a second", rate), arms[:len(arms)-1], taken[:len(taken)-1], p99, peerHAProxy)
	b.add(row, compared, 1.25, 1.0)
	b.report.note("latency: Poisson arrivals at half of what the slowest arm serves at saturation, counted from when a request was due; what is added is the p99 less that of the same load without a proxy, which was %.0f us; the sending was late by %.0f us at p99",
		spreadOf(column(direct, p99)).Median, spreadOf(column(direct, func(s sample) float64 { return s.result.Lag.P99 })).Median)
	return nil
}

// updates compares the router with itself while documents change.
func (b *bench) updates(ctx context.Context) error {
	lasts := time.Duration(float64(b.Updates) / UpdateRate * float64(time.Second))
	const rate = 10_000
	var quiet, busy []float64
	written := time.Duration(0)
	for round := range max(2, b.Rounds/2) + 1 {
		for _, changing := range []bool{false, true} {
			config := b.base(b.ours)
			config.Rate, config.Duration = rate, lasts
			group, ctx := errgroup.WithContext(ctx)
			if changing {
				group.Go(func() error {
					begun := time.Now()
					err := b.update(ctx, b.Updates)
					written = max(written, time.Since(begun))
					return err
				})
			}
			var s sample
			group.Go(func() (err error) { s, err = b.measure(ctx, b.ours, config); return err })
			if err := group.Wait(); err != nil {
				return err
			}
			switch {
			case round == 0:
			case changing:
				busy = append(busy, s.us)
			default:
				quiet = append(quiet, s.us)
			}
		}
	}
	ratios := make([]float64, len(busy))
	for i := range busy {
		ratios[i] = busy[i] / quiet[i]
	}
	spread := spreadOf(ratios)
	b.report.judge(Row{What: fmt.Sprintf("CPU a request while %d documents change, %d requests a second", b.Updates, rate), Unit: "us",
		Ours: spreadOf(busy).Median, Peers: []Value{{"quiet", spreadOf(quiet).Median}}, Ratio: &spread, Against: "quiet"}, 1.08, 1.03)
	b.report.note("updates: %d documents, %d in a transaction, at %d a second by the clock, through etcd to the router, took %.1f s; all CPU of the router counts, the following of etcd included", b.Updates, fillOps, UpdateRate, written.Seconds())
	return nil
}
