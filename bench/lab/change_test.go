package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"gridrouter.io/bench/lab"
)

// bar is how long a change may take from the end of "gridctl apply" until both routers
// act upon it. The race detector makes everything several times slower.
func bar() time.Duration {
	if raceDetector {
		return time.Second
	}
	return 100 * time.Millisecond
}

// TestE2EChangeIsInEffectOnBothRoutersAtOnce moves a tenant to and fro between two decks
// with the real gridctl, many times, while requests run. For each change it asks both
// routers in a tight loop, and notes when the first request lands on the new deck.
func TestE2EChangeIsInEffectOnBothRoutersAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("whole grids take a while")
	}
	changes := 100
	if raceDetector {
		changes = 20
	}
	grid := startGrid(t, sampleConfig(bin(t)))
	decks := []string{"orders-east-1", "orders-east-2"}
	files := tenantFiles(t, decks)
	load := startLoad(grid.VIP(), request{method: "GET", host: "app.globex.example", target: "/"}, 2, append(decks, "orders-west-1"))
	var afterApply, sinceStart []time.Duration
	for i := range changes {
		end, total, err := measureChange(t.Context(), grid, files[i%2], decks[i%2])
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		afterApply, sinceStart = append(afterApply, end), append(sinceStart, total)
	}
	good, failures := load.end()
	t.Logf("%d changes, %d requests meanwhile, %d failed", changes, good, len(failures))
	t.Logf("in effect on both routers after the end of gridctl apply: p50 %s, max %s; after its start: p50 %s, max %s",
		middle(afterApply), slices.Max(afterApply), middle(sinceStart), slices.Max(sinceStart))
	if len(failures) > 0 {
		t.Errorf("requests failed: %s", tally(failures))
	}
	if good < changes {
		t.Errorf("only %d requests ran meanwhile", good)
	}
	// A busy machine may hold up a process now and then; what counts is how many are late.
	late := 0
	for _, took := range afterApply {
		if took > bar() {
			late++
		}
		if took > 10*bar() {
			t.Errorf("a change took %s to be in effect on both routers", took)
		}
	}
	if late > changes/20 {
		t.Errorf("%d of %d changes took longer than %s to be in effect on both routers", late, changes, bar())
	}
}

// tenantFiles writes a document of the tenant globex for each deck.
func tenantFiles(t *testing.T, decks []string) []string {
	t.Helper()
	var files []string
	for _, deck := range decks {
		file := filepath.Join(t.TempDir(), deck+".yaml")
		text := fmt.Sprintf("kind: Tenant\nname: globex\nhosts: [app.globex.example]\nrules: [{name: all, deck: %s}]\n", deck)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// measureChange applies the file and returns how long after the end of gridctl, and
// after its start, the later of the two routers sent a request to the deck. A router
// that acted before gridctl had ended counts as no time after its end.
func measureChange(ctx context.Context, grid *lab.Grid, file, deck string) (afterEnd, sinceStart time.Duration, err error) {
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	var ended time.Time
	landed := make([]time.Time, 2)
	for i, router := range []string{lab.Router1, lab.Router2} {
		group.Go(func() (err error) {
			landed[i], err = firstLanding(ctx, grid.Address(router), deck)
			return err
		})
	}
	group.Go(func() error {
		_, err := grid.Ctl(ctx, "apply", "-f", file)
		ended = time.Now()
		return err
	})
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	last := landed[0]
	if landed[1].After(last) {
		last = landed[1]
	}
	return max(0, last.Sub(ended)), last.Sub(start), nil
}

// firstLanding asks a router until a request lands on the deck, and returns when.
func firstLanding(ctx context.Context, router, deck string) (time.Time, error) {
	w := &wire{address: router}
	defer w.close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; {
		a, err := w.ask(request{method: "GET", host: "app.globex.example", target: "/"})
		switch {
		case err != nil:
			return time.Time{}, err
		case a.status != 200:
			return time.Time{}, fmt.Errorf("a request failed meanwhile: %s", a)
		case a.header.Get("X-Deck") == deck:
			return time.Now(), nil
		}
	}
	return time.Time{}, errors.Join(ctx.Err(), fmt.Errorf("no request landed on %s within %s", deck, patience))
}

func middle(spans []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(spans))
	return sorted[len(sorted)/2]
}
