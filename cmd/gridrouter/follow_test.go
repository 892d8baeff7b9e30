package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

// manyAtOnce has etcd take all documents of these tests in one transaction.
func manyAtOnce(cfg *embed.Config) { cfg.MaxTxnOps = 2048 }

// gate is a TCP proxy in front of etcd that can be cut and stalled.
type gate struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	cut      bool
	stalled  chan struct{} // closed: nothing is held back
	running  sync.WaitGroup
}

func startGate(t *testing.T, target string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, target: target, conns: map[net.Conn]struct{}{}, stalled: make(chan struct{})}
	close(g.stalled)
	g.running.Go(g.accept)
	t.Cleanup(func() {
		_ = listener.Close() // it ends accept
		g.heal()
		g.sever(true)
		g.running.Wait()
	})
	return g
}

func (g *gate) accept() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", g.target)
		if err != nil {
			_ = client.Close() // etcd is away
			continue
		}
		g.mu.Lock()
		if g.cut {
			_, _ = client.Close(), server.Close()
		} else {
			g.conns[client], g.conns[server] = struct{}{}, struct{}{}
			g.running.Go(func() { g.pump(client, server) })
			g.running.Go(func() { g.pump(server, client) })
		}
		g.mu.Unlock()
	}
}

// pump copies what comes while nothing is stalled.
func (g *gate) pump(to, from net.Conn) {
	defer func() {
		_, _ = to.Close(), from.Close()
		g.mu.Lock()
		delete(g.conns, to)
		delete(g.conns, from)
		g.mu.Unlock()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		g.mu.Lock()
		free := g.stalled
		g.mu.Unlock()
		<-free
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sever closes all connections; for good says that none is let through until heal.
func (g *gate) sever(forGood bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = forGood
	for conn := range g.conns {
		_ = conn.Close() // pump tells
	}
}

// stall lets connections stand, and nothing flow.
func (g *gate) stall() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stalled = make(chan struct{})
}

func (g *gate) heal() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = false
	select {
	case <-g.stalled:
	default:
		close(g.stalled)
	}
}

// follower is what a router does with documents, without the router.
type follower struct {
	t         *testing.T
	endpoint  string
	snap      string
	documents *documents
	table     atomic.Pointer[routing.Table]
	stop      func()
}

// start follows etcd, from the snapshot if one was written.
func (f *follower) start() {
	f.t.Helper()
	reader := catalog.NewReader()
	compiler := compile.NewCompiler(reader.Decode)
	if _, framed, err := discovery.ReadSnapshot(f.snap); err == nil {
		sections := make([]compile.Section, len(framed))
		for i := range framed {
			sections[i] = compile.Section(framed[i])
		}
		table, err := compiler.Restore(sections)
		if err != nil {
			f.t.Fatal(err)
		}
		f.table.Store(table)
	} else if !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	source := discovery.NewEtcd(discovery.EtcdConfig{
		Dial: func() (*clientv3.Client, error) {
			return clientv3.New(clientv3.Config{Endpoints: []string{f.endpoint}, DialTimeout: time.Second, BackoffWaitBetween: 10 * time.Millisecond, Logger: zap.NewNop()})
		},
		Root: "/gridrouter/docs/", ProgressEvery: 50 * time.Millisecond, CallTimeout: time.Second,
	})
	d := &documents{compiler: compiler, kind: "etcd", first: make(chan struct{})}
	f.documents = d
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = source.Follow(ctx, func(batch discovery.Batch) { // it ends with ctx
			d.mu.Lock()
			defer d.mu.Unlock()
			update := d.update(batch)
			update.At = time.Time{} // mass changes are meant here
			table, err := compiler.Compile(update)
			if err != nil {
				panic(err)
			}
			f.table.Store(table)
		})
	}()
	f.stop = func() {
		cancel()
		<-done
	}
}

// restart stops, writes a snapshot as a router does, or does not, and starts again.
func (f *follower) restart(save bool) {
	f.t.Helper()
	f.stop()
	if checkpoint := f.documents.checkpoint(); save && checkpoint != nil {
		sections, err := checkpoint.Sections()
		if err != nil {
			f.t.Fatal(err)
		}
		framed := make([]discovery.SnapshotSection, len(sections))
		for i := range sections {
			framed[i] = discovery.SnapshotSection(sections[i])
		}
		if err := discovery.WriteSnapshot(f.snap, discovery.SnapshotHeader{Revision: checkpoint.Revision()}, framed); err != nil {
			f.t.Fatal(err)
		}
	}
	f.start()
}

// world is what the test has written: the model.
type world struct {
	t      *testing.T
	random *rand.Rand
	client *clientv3.Client
	stored map[string]string // key under docs/ -> value
	decks  map[string]string // tenant -> deck, of those whose document is good
	ops    int
}

// write writes some documents in one transaction.
func (w *world) write() {
	w.t.Helper()
	var ops []clientv3.Op
	touched := map[string]bool{}
	for range 1 + w.random.IntN(6) {
		if key, value, deleted := w.document(); !touched[key] {
			touched[key] = true
			if deleted {
				ops = append(ops, clientv3.OpDelete("/gridrouter/docs/"+key))
			} else {
				ops = append(ops, clientv3.OpPut("/gridrouter/docs/"+key, value))
			}
			w.note(key, value, deleted)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := w.client.Txn(ctx).Then(ops...).Commit(); err != nil {
		w.t.Fatal(err)
	}
	w.ops += len(ops)
}

func (w *world) document() (key, value string, deleted bool) {
	tenant, deck := fmt.Sprintf("t%d", w.random.IntN(80)), fmt.Sprintf("d%d", w.random.IntN(5))
	switch w.random.IntN(12) {
	case 0:
		return "decks/" + deck, deckJSON(deck, "127.0.0.1:"+strconv.Itoa(1+w.random.IntN(9))), false
	case 1, 2:
		return "pins/" + tenant + "/k" + strconv.Itoa(w.random.IntN(9)), `{"kind":"Pin","tenant":"` + tenant + `","key":"k1","deck":"` + deck + `"}`, w.random.IntN(3) == 0
	case 3:
		return "tenants/" + tenant, "garbage " + strings.Repeat("x", w.random.IntN(3000)), false
	case 4, 5:
		return "tenants/" + tenant, "", true
	}
	return "tenants/" + tenant, fmt.Sprintf(`{"kind":"Tenant","name":"%s","hosts":["%s.example"],"rules":[{"name":"all","deck":"%s"}]}`, tenant, tenant, deck), false
}

func (w *world) note(key, value string, deleted bool) {
	name, isTenant := strings.CutPrefix(key, "tenants/")
	if isTenant {
		delete(w.decks, name)
	}
	if deleted {
		delete(w.stored, key)
		return
	}
	w.stored[key] = value
	if isTenant && strings.HasPrefix(value, "{") {
		_, rest, _ := strings.Cut(value, `"deck":"`)
		w.decks[name], _, _ = strings.Cut(rest, `"`)
	}
}

// agrees waits until a table is that of the model, and asks it where every host goes.
func (w *world) agrees(f *follower) {
	w.t.Helper()
	whole := compile.Update{Whole: true}
	for key, value := range w.stored {
		whole.Changes = append(whole.Changes, compile.Change{Key: key, Value: []byte(value)})
	}
	want := routingtest.Compile(f.t, compile.NewCompiler(catalog.NewReader().Decode), whole).Hash()
	testkit.Eventually(w.t, "the follower holds what is stored", func() bool {
		table := f.table.Load()
		return table != nil && table.Hash() == want
	})
	table := f.table.Load()
	for i := range 80 {
		name := fmt.Sprintf("t%d", i)
		d := table.Decide(&routing.Request{Host: []byte(name + ".example"), Method: []byte("GET"), Path: []byte("/")})
		deck, good := w.decks[name]
		_, stored := w.stored["tenants/"+name]
		switch {
		case good && (d.Mapped == nil || d.Mapped.Name != deck):
			w.t.Fatalf("after %d operations %s goes to %+v, want %s", w.ops, name, d.Mapped, deck)
		case !stored && d.Fault != routing.FaultNoTenant:
			w.t.Fatalf("after %d operations %s, which is deleted, ends in %q", w.ops, name, d.Fault)
		}
	}
}

// compact makes etcd forget all revisions but the newest.
func (w *world) compact() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := w.client.Get(ctx, "/gridrouter/docs/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		w.t.Fatal(err)
	}
	_, _ = w.client.Compact(ctx, got.Header.Revision) // an error: it is compacted there already
}

// TestTheFollowerAgreesWithTheModelWhateverHappens writes at random, cuts, stalls, compacts
// and restarts, and compares what is in force with what was written, over 10,000
// operations. GRIDROUTER_TEST_SEED repeats a run.
func TestTheFollowerAgreesWithTheModelWhateverHappens(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("GRIDROUTER_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	etcd := etcdtest.Start(t, manyAtOnce)
	gate := startGate(t, etcd.Addr)
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 7)), client: etcdClient(t, etcd.Addr),
		stored: map[string]string{}, decks: map[string]string{},
	}
	f := &follower{t: t, endpoint: "http://" + gate.listener.Addr().String(), snap: filepath.Join(t.TempDir(), "snap")}
	f.start()
	defer func() { f.stop() }()
	for i := range 5 {
		deck := fmt.Sprintf("d%d", i)
		w.note("decks/"+deck, deckJSON(deck, "127.0.0.1:1"), false)
		putRaw(t, etcd.Addr, "decks/"+deck, w.stored["decks/"+deck])
	}
	operations, happened := 10_000, map[string]int{}
	if testing.Short() {
		operations = 1000
	}
	for w.ops < operations {
		what := w.disturb(gate, f)
		happened[what]++
		for range 10 + w.random.IntN(30) {
			w.write()
		}
		if what == "cut" && w.random.IntN(2) == 0 {
			w.compact()
			happened["compacted while away"]++
		}
		gate.heal()
		w.agrees(f)
	}
	t.Logf("%d operations", w.ops)
	t.Logf("%v", happened)
}

// disturb does at most one thing to the follower's connection, or to the follower.
func (w *world) disturb(gate *gate, f *follower) string {
	switch w.random.IntN(8) {
	case 0:
		gate.sever(false)
		return "connections lost"
	case 1:
		gate.sever(true)
		return "cut"
	case 2:
		gate.stall()
		return "stalled"
	case 3:
		w.compact()
		return "compacted"
	case 4:
		f.restart(true)
		return "restarted from the snapshot"
	case 5:
		f.restart(false) // from an older one, or from none
		return "killed"
	}
	return "nothing"
}

// TestATransactionOfAThousandTenantsIsNeverSeenHalf moves a thousand tenants in one
// transaction, again and again, while readers ask the table of the moment where they are:
// within one table all are at the same deck. A million answers are looked at.
func TestATransactionOfAThousandTenantsIsNeverSeenHalf(t *testing.T) {
	const tenants = 1000
	samples := int64(1_000_000)
	if testing.Short() {
		samples = 50_000
	}
	etcd := etcdtest.Start(t, manyAtOnce)
	client := etcdClient(t, etcd.Addr)
	move := func(deck string) {
		ops := make([]clientv3.Op, 0, tenants+1)
		ops = append(ops, clientv3.OpPut("/gridrouter/docs/decks/"+deck, deckJSON(deck, "127.0.0.1:1")))
		for i := range tenants {
			name := fmt.Sprintf("t%d", i)
			ops = append(ops, clientv3.OpPut("/gridrouter/docs/tenants/"+name,
				fmt.Sprintf(`{"kind":"Tenant","name":"%s","hosts":["%s.example"],"rules":[{"name":"all","deck":"%s"}]}`, name, name, deck)))
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := client.Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	move("a")
	f := &follower{t: t, endpoint: etcd.URL, snap: filepath.Join(t.TempDir(), "snap")}
	f.start()
	defer func() { f.stop() }()
	testkit.Eventually(t, "the first table", func() bool { return f.table.Load() != nil })

	const leastMoves = 4
	var seen, torn, moved atomic.Int64
	var readers sync.WaitGroup
	for reader := range 2 {
		random := rand.New(rand.NewPCG(1, uint64(reader)))
		readers.Go(func() {
			request := routing.Request{Method: []byte("GET"), Path: []byte("/")}
			for seen.Load() < samples || moved.Load() < leastMoves {
				table, first := f.table.Load(), ""
				for range 100 {
					request.Host = fmt.Appendf(request.Host[:0], "t%d.example", random.IntN(tenants))
					d := table.Decide(&request)
					if d.Deck == nil || first != "" && d.Deck.Name != first {
						torn.Add(1)
						continue
					}
					first = d.Deck.Name
				}
				seen.Add(100)
			}
		})
	}
	for seen.Load() < samples || moved.Load() < leastMoves {
		move([]string{"b", "a"}[moved.Load()%2])
		moved.Add(1)
	}
	readers.Wait()
	t.Logf("%d answers during %d moves", seen.Load(), moved.Load())
	if torn.Load() > 0 {
		t.Fatalf("%d answers were of half a transaction", torn.Load())
	}
}
