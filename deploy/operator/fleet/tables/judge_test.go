package tables

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/discovery/catalog"
)

const lag = 8 * time.Second

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// reported makes a report of looks 5 s apart. Each look is "router=revision/hash[/effective hash] ...";
// etcd's own revision is 1000.
func reported(t *testing.T, looks ...string) Report {
	t.Helper()
	var r Report
	for i, text := range looks {
		look := Look{At: start.Add(time.Duration(i) * 5 * time.Second), Cluster: 1, Revision: 1000, Routers: map[string]catalog.Status{}}
		for _, word := range strings.Fields(text) {
			name, rest, _ := strings.Cut(word, "=")
			parts := append(strings.Split(rest, "/"), "")
			said := catalog.Status{ID: name, Hash: parts[1], EffectiveHash: parts[2]}
			if _, err := fmt.Sscan(parts[0], &said.Revision); err != nil {
				t.Fatal(err)
			}
			look.Routers[name] = said
		}
		r.Looks = append(r.Looks, look)
		r.At, r.Routers = look.At, look.Routers
	}
	return r
}

func routers(names string) (ready []Router) {
	for _, name := range strings.Fields(names) {
		ready = append(ready, Router{Name: name})
	}
	return ready
}

func TestRoutersAreComparedWithTheirPeers(t *testing.T) {
	f := func(ready string, want string, looks ...string) {
		t.Helper()
		r := reported(t, looks...)
		j := Judge(r, routers(ready), lag, r.At)
		got := fmt.Sprintf("lag%v ahead%v differ%v silent%v", j.Lagging, j.Ahead, j.Differing, j.Silent)
		if got != want {
			t.Errorf("%q: %s, want %s", looks, got, want)
		}
	}
	const fine = "lag[] ahead[] differ[] silent[]"
	thrice := func(look string) []string { return []string{look, look, look} }

	f("", fine)
	f("a", fine, thrice("a=5/x")...)
	f("a b c", fine, thrice("a=5/x b=5/x c=5/x")...)
	// Behind for long enough, over enough looks.
	f("a b c", fine, "a=5/x b=5/x c=4/w")
	f("a b c", fine, "a=5/x b=5/x c=4/w", "a=5/x b=5/x c=4/w")
	f("a b c", "lag[c] ahead[] differ[] silent[]", thrice("a=5/x b=5/x c=4/w")...)
	// It moves, but not as far as the others were.
	f("a b c", "lag[c] ahead[] differ[] silent[]", "a=50/x b=50/x c=4/w", "a=60/y b=60/y c=5/v", "a=70/z b=70/z c=6/u")
	// Documents change all the time, and routers tell of it at different times.
	f("a b c", fine, "a=50/x b=55/y c=40/w", "a=100/p b=101/q c=80/r", "a=150/s b=144/t c=130/u")
	// It was behind and is back.
	f("a b c", fine, "a=5/x b=5/x c=4/w", "a=5/x b=5/x c=4/w", "a=5/x b=5/x c=5/x")
	// etcd stands still: all stand alike.
	f("a b c", fine, "a=5/x b=5/x c=4/w", "a=5/x b=5/x c=5/x", "a=5/x b=5/x c=5/x", "a=5/x b=5/x c=5/x")
	// The same documents by a lower revision, as after a start behind a deletion.
	f("a b c", fine, thrice("a=5/x b=5/x c=3/x")...)
	f("a b c", fine, thrice("a=5/x b=5/x c=3/x c=3/x")...)
	// One ahead of two is doubted itself; of two, the higher is right; halves: the higher half.
	f("a b c", "lag[] ahead[c] differ[] silent[]", thrice("a=5/x b=5/x c=9/y")...)
	f("a b", "lag[a] ahead[] differ[] silent[]", thrice("a=5/x b=9/y")...)
	f("a b c d", "lag[a b] ahead[] differ[] silent[]", thrice("a=5/x b=5/x c=9/y d=9/y")...)
	f("a b c d", "lag[] ahead[d] differ[] silent[]", thrice("a=5/x b=5/x c=5/x d=9/y")...)
	// More than etcd has: of another etcd, or no router's word.
	f("a b", "lag[] ahead[b] differ[] silent[]", thrice("a=5/x b=9223372036854775807/y")...)
	f("a b", fine, thrice("a=2000/x b=3000/x")...)
	f("a b c", "lag[] ahead[b c] differ[] silent[]", thrice("a=5/x b=2000/y c=2000/y")...)
	// Different tables of one revision.
	f("a b c", "lag[] ahead[] differ[c] silent[]", thrice("a=5/x b=5/x c=5/y")...)
	f("a b", "lag[] ahead[] differ[a b] silent[]", thrice("a=5/x b=5/y")...)
	f("a b c", "lag[] ahead[] differ[c] silent[]", thrice("a=5/x/e b=5/x/e c=5/x/f")...)
	f("a b c", fine, "a=5/x b=5/x c=5/y", "a=5/x b=5/x c=5/y", "a=5/x b=5/x c=5/x")
	f("a b c d", "lag[c] ahead[] differ[] silent[]", thrice("a=5/x b=5/x c=3/w d=3/x")...)
	// Who is not ready, or of another fleet, is not looked at.
	f("a b", fine, thrice("a=5/x b=5/x c=3/w d=900/z")...)
	f("a b c", "lag[] ahead[] differ[] silent[c]", thrice("a=5/x b=5/x")...)
	// It was away for a look: it is judged anew.
	f("a b c", fine, "a=5/x b=5/x c=3/w", "a=5/x b=5/x", "a=5/x b=5/x c=3/w")
}

func TestWhatMayComeToLastIsJudgedAgain(t *testing.T) {
	f := func(want time.Duration, looks ...string) {
		t.Helper()
		r := reported(t, looks...)
		if j := Judge(r, routers("a b"), lag, r.At); j.Again != want {
			t.Errorf("%q: again after %s, want %s", looks, j.Again, want)
		}
	}
	f(0)
	f(0, "a=5/x b=5/x")
	f(lag, "a=5/x b=4/w")
	f(3*time.Second, "a=5/x b=4/w", "a=5/x b=4/w")
	f(lag, "a=5/x b=4/w", "a=5/x b=4/w", "a=5/x b=4/w")

	r := reported(t, "a=5/x")
	j := Judge(r, []Router{{Name: "a"}, {Name: "b", Since: start.Add(-2 * time.Second)}}, lag, start)
	if len(j.Silent) != 0 || j.Again != 6*time.Second || j.Told != 1 || j.Ready != 2 {
		t.Errorf("a router that has just got ready: %+v", j)
	}
}

func TestTheStatusTellsRevisionsAndHashes(t *testing.T) {
	r := reported(t, "a=5/x b=7/y c=7/y d=1/z")
	j := Judge(r, routers("a b c"), lag, r.At)
	if j.RevisionLow != 5 || j.RevisionHigh != 7 || !slices.Equal(j.Hashes, []string{"x", "y"}) {
		t.Errorf("%+v", j)
	}
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "r%d=5/h%d ", i, i)
	}
	r = reported(t, many.String())
	var ready []Router
	for name := range r.Routers {
		ready = append(ready, Router{Name: name})
	}
	if j := Judge(r, ready, lag, r.At); len(j.Hashes) != 100 {
		t.Errorf("%d hashes", len(j.Hashes))
	}
}

// TestNobodyIsBlamedForWhatHalfHave tries what routers can say at random.
func TestNobodyIsBlamedForWhatHalfHave(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var looks [3]string
		n := 1 + random.IntN(6)
		for i := range looks {
			for k := range n {
				if random.IntN(8) > 0 {
					looks[i] += fmt.Sprintf("r%d=%d/%d ", k, random.IntN(6), random.IntN(3))
				}
			}
		}
		r := reported(t, looks[:]...)
		ready := routers("r0 r1 r2 r3 r4 r5")[:n]
		j := Judge(r, ready, lag, r.At)
		if again := Judge(r, ready, lag, r.At); fmt.Sprint(j) != fmt.Sprint(again) {
			t.Fatalf("%q is judged in two ways: %+v, %+v", looks, j, again)
		}
		higher := 0
		for _, said := range r.Routers {
			for _, name := range j.Lagging {
				if said.Revision > r.Routers[name].Revision {
					higher++
					break
				}
			}
		}
		if len(j.Lagging) > 0 && higher == 0 {
			t.Fatalf("%q: %v lag behind nobody", looks, j.Lagging)
		}
		for _, name := range j.Lagging {
			if slices.Contains(j.Ahead, name) || slices.Contains(j.Differing, name) || slices.Contains(j.Silent, name) {
				t.Fatalf("%q: %s is told twice: %+v", looks, name, j)
			}
		}
	}
}

func TestTheConditionNamesAFewRouters(t *testing.T) {
	f := func(r Report, looked bool, ready []Router, status string, reason v1alpha1.Reason, message string) {
		t.Helper()
		j := Judge(r, ready, lag, r.At)
		got := Synced(r, looked, j, r.At.Add(3*time.Minute))
		if got.Status != status || got.Reason != string(reason) || !strings.Contains(got.Message, message) || len(got.Message) > 1024 {
			t.Errorf("%+v, want %s, %s, %q", got, status, reason, message)
		}
	}
	same := reported(t, "a=5/x b=5/x", "a=5/x b=5/x", "a=5/x b=5/x")
	f(Report{}, false, routers("a"), "Unknown", v1alpha1.ReasonNoStatus, "not been read yet")
	f(same, true, routers("a b"), "True", v1alpha1.ReasonInSync, "all ready routers have the same table")
	f(same, true, nil, "Unknown", v1alpha1.ReasonNoStatus, "no router is ready")
	f(same, true, routers("a b c"), "Unknown", v1alpha1.ReasonNoStatus, "1 of 3 ready routers (c)")
	f(same, true, []Router{{Name: "c", Since: same.At}}, "Unknown", v1alpha1.ReasonNoStatus, "no router has told")
	f(same, true, append(routers("a b"), Router{Name: "c", Since: same.At}), "True", v1alpha1.ReasonInSync, "all ready routers have the same table")
	look := "a=5/x b=5/x c=5/x d=5/x e=5/x f=1/p g=1/p h=1/p i=1/p"
	f(reported(t, look, look, look), true, routers("a b c d e f g h i"), "False", v1alpha1.ReasonRoutersLag, "4 of 9 ready routers (f, g, h, and 1 more)")
	look = "a=5/x b=5/x c=9/y"
	f(reported(t, look, look, look), true, routers("a b c"), "False", v1alpha1.ReasonRoutersLag, "(c): ahead")
	look = "a=5/x b=5/x c=5/y"
	f(reported(t, look, look, look), true, routers("a b c"), "False", v1alpha1.ReasonTablesDiffer, "(c): another table")
	failed := same
	failed.Err = fmt.Errorf("etcd is away")
	f(failed, true, routers("a b"), "Unknown", v1alpha1.ReasonEtcdUnreachable, "etcd is away; what is known of tables is 3 minutes old")
	f(Report{Err: failed.Err}, true, routers("a b"), "Unknown", v1alpha1.ReasonEtcdUnreachable, "etcd is away")
}

func TestLooksAreKeptForAsLongAsTheyAreNeeded(t *testing.T) {
	var looks []Look
	for i := range 1000 {
		looks = keep(append(slices.Clone(looks), Look{At: start.Add(time.Duration(i) * 10 * time.Millisecond), Cluster: 1, Revision: int64(i)}), lag)
		if len(looks) > 8 {
			t.Fatalf("%d looks are kept", len(looks))
		}
	}
	if over := looks[len(looks)-1].At.Sub(looks[0].At); over < lag || over > 2*lag {
		t.Errorf("they cover %s", over)
	}
	at := looks[len(looks)-1].At.Add(time.Second)
	if left := keep(append(slices.Clone(looks), Look{At: at, Cluster: 2, Revision: 5000}), lag); len(left) != 1 {
		t.Errorf("looks of another etcd are kept: %v", left)
	}
	if left := keep(append(slices.Clone(looks), Look{At: at, Cluster: 1, Revision: 3}), lag); len(left) > 1 && left[0].Revision > 3 {
		t.Errorf("looks from before a restore are kept: %v", left)
	}
}
