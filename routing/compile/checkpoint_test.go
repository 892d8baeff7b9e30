package compile_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

// TestARestoredCompilerGoesOnAsIfItHadNotStopped drives two compilers through the same
// random writes, one of which is replaced by a restored one again and again.
func TestARestoredCompilerGoesOnAsIfItHadNotStopped(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	reader := document.NewReader()
	straight, restored := compile.NewCompiler(reader.Decode), compile.NewCompiler(reader.Decode)
	stored := map[string]compile.Change{}
	for round := range 150 {
		update := randomUpdate(random, stored, int64(round+2))
		a, b := routingtest.Compile(t, straight, cloneUpdate(update)), routingtest.Compile(t, restored, cloneUpdate(update))
		mustAgree(t, "the restored compiler", a, b)
		if round%7 == 0 {
			sections, err := restored.Checkpoint().Sections()
			if err != nil {
				t.Fatal(err)
			}
			restored = compile.NewCompiler(reader.Decode)
			table, err := restored.Restore(sections)
			if err != nil {
				t.Fatal(err)
			}
			mustAgree(t, "the restored table", a, table)
		}
	}
}

// TestARebuiltCompilerGoesOnFromTheTableInForce drives two compilers through the same random
// writes, one of which is given up again and again as after a panic, amidst an update that
// nobody saw the end of, and rebuilt from its table. With the list that follows all is as if
// nothing had happened, but for the hash of what is in force where that is not what is stored.
func TestARebuiltCompilerGoesOnFromTheTableInForce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	reader := document.NewReader()
	straight, rebuilt := compile.NewCompiler(reader.Decode), compile.NewCompiler(reader.Decode)
	stored := map[string]compile.Change{}
	for round := range 120 {
		update := randomUpdate(random, stored, int64(round+2))
		a := routingtest.Compile(t, straight, cloneUpdate(update))
		var b *routing.Table
		if round%5 < 4 {
			b = routingtest.Compile(t, rebuilt, cloneUpdate(update))
		} else {
			next, err := rebuilt.Rebuilt()
			if err != nil {
				t.Fatal(err)
			}
			rebuilt = next
			whole := compile.Update{Whole: true, Revision: int64(round + 2)}
			for _, change := range stored {
				whole.Changes = append(whole.Changes, change)
			}
			b = routingtest.Compile(t, rebuilt, whole)
		}
		mustAgreeOn(t, fmt.Sprintf("round %d", round), a, b, func(a, b routing.Problem) bool {
			a.Revision = b.Revision // of a claim it is that of the moment when it was looked at last
			return a == b
		})
	}
}

// TestIncrementsLeadWhereAWholeListLeads compares a compiler that was told of every change
// with one that is told of all documents at once, where nothing depends on the past.
func TestIncrementsLeadWhereAWholeListLeads(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	reader := document.NewReader()
	compiler := compile.NewCompiler(reader.Decode)
	stored := map[string]compile.Change{}
	for round := range 150 {
		table := routingtest.Compile(t, compiler, randomUpdate(random, stored, int64(round+2)))
		whole := compile.Update{Whole: true, Revision: int64(round + 2)}
		for _, change := range stored {
			whole.Changes = append(whole.Changes, change)
		}
		fresh := routingtest.Compile(t, compile.NewCompiler(reader.Decode), cloneUpdate(whole))
		if fresh.Hash() != table.Hash() {
			t.Fatalf("round %d: hash %s by increments, %s at once", round, table.Hash(), fresh.Hash())
		}
		if random.IntN(4) == 0 { // a list of the same changes nothing
			again := routingtest.Compile(t, compiler, cloneUpdate(whole))
			mustAgree(t, "the table after a whole list", table, again)
			if compiler.Moved() != 0 {
				t.Fatalf("round %d: a list of what is there moved %d pairs", round, compiler.Moved())
			}
		}
	}
}

// oddKeys are keys that somebody with access to the source may write, and no document has.
var oddKeys = []string{
	"", "/", "tenants", "tenants/", "tenants/\xff\xfe", "tenants/\xc3", "tenants/\xef\xbf\xbd", "tenants/t1/t2", "tenants//t1", "tenants/T1", "tenants/t1 ",
	"tenants/t\x001", "tenants/" + strings.Repeat("t", 4096), "decks/", "decks/\xff", "decks/D1", "decks/d1/", "pins", "pins/", "pins/t1", "pins/t1/",
	"pins/t1/%zz", "pins/t1/%6b1", "pins/t1/k/1", "pins/\xff/k1", "pins/T1/k1", "pins/t1/" + strings.Repeat("k", 4096), "gslb/\xfe", "\xff/\xfe", "other/t1",
}

func cloneUpdate(u compile.Update) compile.Update {
	u.Changes = slices.Clone(u.Changes)
	return u
}

// randomUpdate writes and deletes some documents, good and bad.
func randomUpdate(random *rand.Rand, stored map[string]compile.Change, revision int64) compile.Update {
	update := compile.Update{Revision: revision}
	changed := map[string]bool{}
	for range 1 + random.IntN(6) {
		key, value := randomDocument(random)
		if changed[key] {
			continue
		}
		changed[key] = true
		before, exists := stored[key]
		if exists && random.IntN(4) == 0 {
			delete(stored, key)
			update.Changes = append(update.Changes, compile.Change{Key: key, Deleted: true, Revision: revision})
			continue
		}
		change := compile.Change{Key: key, Value: []byte(value), Revision: revision, Created: revision, Origin: "here"}
		if exists {
			change.Created = before.Created
		}
		stored[key] = change
		update.Changes = append(update.Changes, change)
	}
	return update
}

func randomDocument(random *rand.Rand) (key, value string) {
	deck := fmt.Sprintf("d%d", random.IntN(4))
	tenant := fmt.Sprintf("t%d", random.IntN(12))
	if random.IntN(12) == 0 {
		return "tenants/" + tenant, "garbage"
	}
	if random.IntN(5) == 0 { // whatever stands under such a key, it is no tenant's, deck's or pin's
		return oddKeys[random.IntN(len(oddKeys))], fmt.Sprintf(`{"kind":"Tenant","name":%q,"hosts":["h%d.a.example"],"rules":[{"name":"r","deck":"d1"}]}`, tenant, random.IntN(12))
	}
	switch random.IntN(10) {
	case 0:
		return "decks/" + deck, `{"kind":"Deck","name":"` + deck + `","domain":"` + deck + `.example","attach":"mesh"}`
	case 1, 2:
		return "pins/" + tenant + "/k" + fmt.Sprint(random.IntN(5)), `{"kind":"Pin","tenant":"` + tenant + `","key":"k` + fmt.Sprint(random.IntN(9)) + `","deck":"` + deck + `"}`
	default:
		hosts := fmt.Sprintf(`"h%d.a.example"`, random.IntN(8))
		delegates := ""
		switch random.IntN(6) {
		case 0:
			hosts += `,"*.a.example"`
			delegates = `"delegates":["h1.a.example","*.x.a.example"],`
		case 1:
			hosts += fmt.Sprintf(`,"*.x%d.a.example"`, random.IntN(2))
		case 2:
			hosts += fmt.Sprintf(`,"h%d.b.example"`, random.IntN(8)+8)
		}
		rules := `[{"name":"all","deck":"` + deck + `"}]`
		if random.IntN(2) == 0 {
			rules = `[{"name":"users","key":{"header":"x-user-id"},"pins":true,"split":{"` + deck + `":1,"d9":` + fmt.Sprint(random.IntN(3)) + `}}]`
		}
		return "tenants/" + tenant, fmt.Sprintf(`{"kind":"Tenant","name":"%s","hosts":[%s],%s"epoch":%d,"rules":%s}`, tenant, hosts, delegates, 1+random.IntN(3), rules)
	}
}

// mustAgree compares all that two tables show.
func mustAgree(t *testing.T, what string, want, got *routing.Table) {
	t.Helper()
	if want.EffectiveHash() != got.EffectiveHash() {
		t.Fatalf("%s: what is in force has the hash %s, want %s", what, got.EffectiveHash(), want.EffectiveHash())
	}
	mustAgreeOn(t, what, want, got, func(a, b routing.Problem) bool { return a == b })
}

// mustAgreeOn compares all but the effective hash.
func mustAgreeOn(t *testing.T, what string, want, got *routing.Table, same func(a, b routing.Problem) bool) {
	t.Helper()
	if want.Hash() != got.Hash() || want.Counts() != got.Counts() {
		t.Fatalf("%s: %s %+v, want %s %+v", what, got.Hash(), got.Counts(), want.Hash(), want.Counts())
	}
	if a, b := want.Problems(), got.Problems(); !slices.EqualFunc(a, b, same) {
		for i := range min(len(a), len(b)) {
			if !same(a[i], b[i]) {
				t.Errorf("%s: problem %.300q, want %.300q", what, fmt.Sprint(b[i]), fmt.Sprint(a[i]))
				break
			}
		}
		t.Fatalf("%s: %d problems, want %d, or others", what, len(b), len(a))
	}
	for i := range 12 {
		name := fmt.Sprintf("t%d", i)
		if a, b := want.Hosts(name), got.Hosts(name); !slices.Equal(a, b) {
			t.Fatalf("%s: tenant %s holds %v, want %v", what, name, b, a)
		}
	}
	for _, host := range []string{"h1.a.example", "h9.a.example", "q.x0.a.example", "h3.x1.a.example", "h9.b.example", "a.example"} {
		for _, user := range []string{"k1", "k2", "other"} {
			request := routing.Request{Host: []byte(host), Method: []byte("GET"), Path: []byte("/"), Fields: routingtest.Fields{{"x-user-id", user}}}
			a, b := want.Explain(&request), got.Explain(&request)
			a.Revision, b.Revision = 0, 0
			if a.Text() != b.Text() {
				t.Fatalf("%s: %s\nwant %s", what, b.Text(), a.Text())
			}
		}
	}
}
