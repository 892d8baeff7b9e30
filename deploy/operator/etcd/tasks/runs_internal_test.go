package tasks

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gridrouter.io/bench/testkit"
)

var store = types.NamespacedName{Namespace: "grid", Name: "store"}

// lasts is an act that lasts until it is ended.
func lasts(ctx context.Context) (done, error) {
	<-ctx.Done()
	return done{}, errors.New("etcd's client has other words for it")
}

// outcome waits for the end of the act on the store.
func outcome(t *testing.T, r *runs) run {
	t.Helper()
	testkit.Eventually(t, "the act has ended", func() bool { one, _ := r.of(store); return one.ended })
	one, _ := r.of(store)
	return one
}

func TestNoActOutlivesItsOperator(t *testing.T) {
	r, over := newRuns(), false
	r.take(store, "a")
	r.begin(store, time.Hour, func(ctx context.Context) (done, error) {
		defer func() { over = true }()
		return lasts(ctx)
	}, func() {})
	r.close()
	if !over || !r.closed() {
		t.Error("an act goes on after the close")
	}
	if r.take(types.NamespacedName{Name: "other"}, "b") {
		t.Error("another act begins after the close")
	}
}

func TestAnActHasATimeAndItsFaultsAreErrors(t *testing.T) {
	for _, row := range []struct {
		what string
		do   func(context.Context) (done, error)
		want string
	}{
		{"one that lasts", lasts, "it was ended after 20ms: etcd's client has other words for it"},
		{"one that panics", func(context.Context) (done, error) { panic("no such thing") }, "a fault of the operator: no such thing"},
	} {
		r := newRuns()
		t.Cleanup(r.close)
		r.take(store, "a")
		r.begin(store, 20*time.Millisecond, row.do, func() {})
		if one := outcome(t, r); one.err == nil || !strings.Contains(one.err.Error(), row.want) {
			t.Errorf("%s ends with %v", row.what, one.err)
		}
	}
}

func TestAnActThatIsStoppedSaysWhyAndItsPlaceIsFreeOnceItWasTold(t *testing.T) {
	r := newRuns()
	t.Cleanup(r.close)
	r.take(store, "a")
	r.begin(store, time.Hour, lasts, func() {})
	r.forget(store) // it has not ended: nothing is forgotten
	r.stop(store)
	if one := outcome(t, r); !errors.Is(one.err, errGone) {
		t.Errorf("it ends with %v", one.err)
	}
	if r.take(store, "b") {
		t.Error("another act begins before this one was told")
	}
	r.forget(store)
	if !r.take(store, "b") {
		t.Error("no other act can begin")
	}
	r.giveBack(store)
}
