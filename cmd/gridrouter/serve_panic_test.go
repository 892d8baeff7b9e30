package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// TestAnUpdateThatPanicsLeavesInForceWhatIs brings out a panic amidst an update, at each list
// again, until the document that does it is gone. What is in force stays so meanwhile, and says
// why; then all that is stored is in force.
func TestAnUpdateThatPanicsLeavesInForceWhatIs(t *testing.T) {
	pauses := relistPauses
	relistPauses = []time.Duration{0, time.Millisecond}
	defer func() { relistPauses = pauses }()
	decode := catalog.NewReader().Decode
	var table atomic.Pointer[routing.Table]
	source := discovery.NewMemory()
	s := &service{log: zap.NewNop(), source: source, snapshots: &snapshots{}}
	panics := prometheus.NewCounter(prometheus.CounterOpts{Name: "panics", Help: "x"})
	s.documents = &documents{
		rebuild: (*compile.Compiler).Rebuilt,
		compiler: compile.NewCompiler(func(key string, value []byte) (any, error) {
			if string(value) == "poison" {
				return (*routing.Pin)(nil), nil // which nobody looks for
			}
			return decode(key, value)
		}),
		guard: newGuardWatch(s.log, prometheus.NewRegistry()), publish: table.Store, kind: "memory", first: make(chan struct{}), log: s.log, panics: panics,
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.followSource(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	deckOf := func(host string) string {
		if table.Load() == nil {
			return ""
		}
		d := table.Load().Decide(&routing.Request{Host: []byte(host), Method: []byte("GET"), Path: []byte("/")})
		if d.Deck == nil {
			return ""
		}
		return d.Deck.Name
	}
	tenant := func(name, deck string) {
		source.Put("tenants/"+name, []byte(`{"kind":"Tenant","name":"`+name+`","hosts":["`+name+`.example"],"epoch":1,"rules":[{"name":"all","deck":"`+deck+`"}]}`))
	}
	for _, deck := range []string{"d1", "d2"} {
		source.Put("decks/"+deck, []byte(`{"kind":"Deck","name":"`+deck+`","domain":"`+deck+`.example","attach":"direct","addresses":["127.0.0.1:1"]}`))
	}
	tenant("acme", "d1")
	source.Commit()
	testkit.Eventually(t, "the first documents", func() bool { return deckOf("acme.example") == "d1" })

	tenant("acme", "d2")
	source.Put("pins/acme/a", []byte("poison"))
	source.Commit()
	testkit.Eventually(t, "three updates that failed", func() bool { return testutil.ToFloat64(panics) >= 3 })
	if got := deckOf("acme.example"); got != "d1" {
		t.Errorf("while the update fails the tenant is on %q", got)
	}
	problems := table.Load().Problems()
	if len(problems) != 1 || problems[0].Code != routing.ProblemUpdateFailed || !strings.Contains(problems[0].Message, "nil pointer") || table.Load().Counts().Problems != 1 {
		t.Errorf("problems %+v", problems)
	}

	tenant("more", "d2")
	source.Delete("pins/acme/a")
	source.Commit()
	testkit.Eventually(t, "all that is stored", func() bool { return deckOf("acme.example") == "d2" && deckOf("more.example") == "d2" })
	if problems := table.Load().Problems(); len(problems) != 0 {
		t.Errorf("problems %+v", problems)
	}
	tenant("more", "d1")
	source.Commit()
	testkit.Eventually(t, "the change after it", func() bool { return deckOf("more.example") == "d1" })
}

// TestAnAcceptanceThatPanicsLeavesInForceWhatIs accepts a mass change whose compilation panics: who
// accepts is told, and what is in force stays. Where the compiler cannot be rebuilt, nothing is
// put in force any more, nor written into a snapshot.
func TestAnAcceptanceThatPanicsLeavesInForceWhatIs(t *testing.T) {
	for _, rebuilds := range []bool{true, false} {
		t.Run(fmt.Sprintf("rebuilds=%v", rebuilds), func(t *testing.T) {
			decode, armed := catalog.NewReader().Decode, false
			var table atomic.Pointer[routing.Table]
			lists := 0
			d := &documents{
				compiler: compile.NewCompiler(func(key string, value []byte) (any, error) {
					if armed && strings.HasPrefix(key, "pins/") {
						return (*routing.Pin)(nil), nil // which nobody looks for
					}
					return decode(key, value)
				}),
				rebuild: func(c *compile.Compiler) (*compile.Compiler, error) {
					if !rebuilds {
						return nil, errors.New("it cannot")
					}
					return c.Rebuilt()
				},
				relist: func() { lists++ }, guard: newGuardWatch(zap.NewNop(), prometheus.NewRegistry()), publish: table.Store, kind: "memory",
				first: make(chan struct{}), log: zap.NewNop(), panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "panics", Help: "x"}),
			}
			entry := func(key, value string) discovery.Entry { return discovery.Entry{Key: key, Value: []byte(value)} }
			var all, moved []discovery.Entry
			for _, deck := range []string{"d1", "d2"} {
				all = append(all, entry("decks/"+deck, `{"kind":"Deck","name":"`+deck+`","domain":"`+deck+`.example","attach":"direct","addresses":["127.0.0.1:1"]}`))
			}
			for i := range 20 {
				name := fmt.Sprintf("t%02d", i)
				all = append(all, entry("tenants/"+name, `{"kind":"Tenant","name":"`+name+`","hosts":["`+name+`.example"],"rules":[{"name":"pinned","key":{"header":"k"},"pins":true},{"name":"all","deck":"d1"}]}`),
					entry("pins/"+name+"/k", `{"kind":"Pin","tenant":"`+name+`","key":"k","deck":"d1"}`))
				moved = append(moved, entry("pins/"+name+"/k", `{"kind":"Pin","tenant":"`+name+`","key":"k","deck":"d2"}`))
			}
			d.apply(discovery.Batch{Whole: true, Revision: 1, Put: all})
			d.apply(discovery.Batch{Revision: 2, Put: moved})
			held := table.Load().Guard()
			if held == nil || held.Documents != 20 {
				t.Fatalf("held is %+v", held)
			}
			before := table.Load().EffectiveHash()
			armed = true
			if err := d.accept(held.Revision); err == nil || !strings.Contains(err.Error(), "fault") {
				t.Errorf("whoever accepted was told %v", err)
			}
			armed = false
			if got := table.Load().EffectiveHash(); got != before || lists != 1 || testutil.ToFloat64(d.panics) != 1 || table.Load().Counts().Problems == 0 {
				t.Errorf("hash %s, was %s; %d lists, %v panics, %d problems", got, before, lists, testutil.ToFloat64(d.panics), table.Load().Counts().Problems)
			}
			if err := d.accept(held.Revision); err == nil {
				t.Error("something was accepted while the compiler knows nothing but what is in force")
			}
			d.apply(discovery.Batch{Whole: true, Revision: 3, Put: all[:2]}) // a mass change again, or nothing
			if saved := d.checkpoint(); (saved != nil) != rebuilds {
				t.Errorf("a snapshot is written: %v", saved != nil)
			}
			if got := table.Load().Counts().Tenants; got != 20 {
				t.Errorf("%d tenants are in force", got)
			}
			if stuck := strings.Contains(table.Load().Problems()[0].Message, "started anew"); stuck == rebuilds {
				t.Errorf("problems %+v", table.Load().Problems())
			}
		})
	}
}

// TestAZoneThatPanicsLeavesWhatIsAnswered: the answers stay until the document is gone.
func TestAZoneThatPanicsLeavesWhatIsAnswered(t *testing.T) {
	var published []int
	publish := func(z *gslb.Zone) { published = append(published, z.Names()) }
	names := newGslbNames(catalog.NewReader().Decode, gslb.ZoneConfig{}, "memory", publish, zap.NewNop(), prometheus.NewRegistry())
	names.newZone = func(documents []*gslb.Document, config gslb.ZoneConfig) *gslb.Zone {
		if len(documents) == 2 {
			panic("two")
		}
		return gslb.NewZone(documents, config)
	}
	entry := func(name string) discovery.Entry {
		return discovery.Entry{Key: name, Value: []byte(`{"kind":"Gslb","name":"` + name + `","vips":[{"address":"10.0.0.1"}]}`)}
	}
	names.apply(discovery.Batch{Whole: true, Revision: 1, Put: []discovery.Entry{entry("a.grid.example")}})
	names.apply(discovery.Batch{Revision: 2, Put: []discovery.Entry{entry("b.grid.example")}})
	names.apply(discovery.Batch{Revision: 3, Put: []discovery.Entry{entry("c.grid.example")}})
	if !slices.Equal(published, []int{1, 3}) || testutil.ToFloat64(names.failures) != 1 {
		t.Errorf("zones with %v names were published, want 1 and 3; %v failures", published, testutil.ToFloat64(names.failures))
	}
}
