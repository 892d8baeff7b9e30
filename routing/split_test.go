package routing

import (
	"bufio"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// TestSlotsAndOwnersKeepTheirGoldenVectors holds the hash to what was published: every
// router, of every version and architecture, must map a key alike for ever. The file
// is never rewritten.
func TestSlotsAndOwnersKeepTheirGoldenVectors(t *testing.T) {
	f, err := os.Open("testdata/split_vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		cases++
		given, want, _ := strings.Cut(line, " => ")
		if got := splitVector(t, given); got != want {
			t.Errorf("%s => %s, golden %s", given, got, want)
		}
	}
	if cases < 40 {
		t.Fatalf("only %d vectors", cases)
	}
}

// splitVector computes one line of the golden file:
//
//	slot TENANT RULE KEY      => the slot
//	owner DECK=WEIGHT,... SLOT => the deck that owns the slot
//	cost HASH                 => -log2(HASH / 2^64) in units of 2^-40
func splitVector(t *testing.T, given string) string {
	t.Helper()
	words := strings.Fields(given)
	switch words[0] {
	case "slot":
		return fmt.Sprint(Slot(words[1], words[2], []byte(words[3])))
	case "owner":
		weights := map[string]int{}
		for pair := range strings.SplitSeq(words[1], ",") {
			deck, weight, _ := strings.Cut(pair, "=")
			var w int
			if _, err := fmt.Sscan(weight, &w); err != nil {
				t.Fatal(err)
			}
			weights[deck] = w
		}
		var slot int
		if _, err := fmt.Sscan(words[2], &slot); err != nil {
			t.Fatal(err)
		}
		decks, owners := Owners(weights)
		return decks[owners[slot]]
	case "cost":
		var h uint64
		if _, err := fmt.Sscan(words[1], &h); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(negativeLog2(h))
	}
	t.Fatalf("what is %q?", given)
	return ""
}

func TestSlotCostsAreLogarithms(t *testing.T) {
	f := func(h uint64) {
		t.Helper()
		got := float64(negativeLog2(h)) / (1 << fractionBits)
		want := 64 - math.Log2(float64(h))
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("-log2(%d/2^64) = %.12f, want %.12f", h, got, want)
		}
		if negativeLog2(h) == 0 {
			t.Errorf("the cost of %d is 0, which no weight could tell apart", h)
		}
	}
	f(1)
	f(2)
	f(3)
	f(1 << 63)
	f(1<<63 + 1)
	f(math.MaxUint64)
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		f(r.Uint64()>>r.IntN(64) | 1)
	}
}

func TestSplitFollowsItsWeights(t *testing.T) {
	weights := map[string]int{"orders-east-1": 60, "orders-east-2": 40, "orders-west-1": 0, "orders-west-2": 300}
	decks, owners := Owners(weights)
	count := map[string]int{}
	for _, owner := range owners {
		count[decks[owner]]++
	}
	if count["orders-west-1"] != 0 {
		t.Error("a deck of weight 0 owns slots")
	}
	for deck, weight := range weights {
		want := float64(Slots) * float64(weight) / 400
		if diff := math.Abs(float64(count[deck]) - want); diff > 4*math.Sqrt(want)+1 {
			t.Errorf("%s owns %d slots, want about %.0f", deck, count[deck], want)
		}
	}
}

func TestRaisingAWeightMovesSlotsOnlyToThatDeck(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		before := map[string]int{}
		for i := range 2 + r.IntN(6) {
			before[fmt.Sprintf("deck-%d", i)] = r.IntN(MaxWeight)
		}
		before["deck-0"] = 1 + r.IntN(MaxWeight-1)
		after := maps.Clone(before)
		after["deck-0"] += 1 + r.IntN(MaxWeight-before["deck-0"])
		oldDecks, oldOwners := Owners(before)
		newDecks, newOwners := Owners(after)
		moved := 0
		for slot := range Slots {
			was, is := oldDecks[oldOwners[slot]], newDecks[newOwners[slot]]
			if was != is {
				moved++
				if is != "deck-0" {
					t.Fatalf("weights %v -> %v moved slot %d from %s to %s", before, after, slot, was, is)
				}
			}
		}
		if moved == 0 && after["deck-0"] > 2*before["deck-0"] {
			t.Errorf("weights %v -> %v moved nothing", before, after)
		}
	}
}

func TestOwnersDependOnNamesAndRatiosAlone(t *testing.T) {
	a, ownersA := Owners(map[string]int{"b": 2, "a": 4, "z": 0})
	b, ownersB := Owners(map[string]int{"a": 400, "b": 200})
	for slot := range Slots {
		if a[ownersA[slot]] != b[ownersB[slot]] {
			t.Fatalf("slot %d differs for equal ratios", slot)
		}
	}
}

func BenchmarkOwnersOfAHundredDecks(b *testing.B) {
	weights := map[string]int{}
	for i := range 100 {
		weights[fmt.Sprintf("deck-%d", i)] = 1 + i
	}
	for b.Loop() {
		Owners(weights)
	}
}
