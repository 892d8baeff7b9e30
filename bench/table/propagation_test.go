package table

import (
	"testing"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing/compile"
)

// watched is a watcher with a compiler of the same documents.
func watched(t *testing.T) (w *watcher, h *holding) {
	t.Helper()
	b := &bench{Config: Config{Tenants: LeastTenants, Seconds: 1}, docs: someDocuments(t, 10), decode: catalog.NewReader().Decode}
	h, _, err := b.hold(LeastTenants, "")
	if err != nil {
		t.Fatal(err)
	}
	return newWatcher(b.newWriting()), h
}

// take compiles the nth write and returns the batch that brought it.
func take(t *testing.T, w *watcher, h *holding, n int) discovery.Batch {
	t.Helper()
	key, value := w.plan.change(n)
	if err := h.apply(compile.Update{Changes: []compile.Change{{Key: key, Value: value, Revision: h.revision + 1, Created: 1}}}); err != nil {
		t.Fatal(err)
	}
	return discovery.Batch{Put: []discovery.Entry{{Key: key, Value: value}}}
}

func TestWriteIsInEffectOnceItDecides(t *testing.T) {
	w, h := watched(t)
	planned := w.left.Load()
	w.published(take(t, w, h, 5), h.table.Load())
	if w.wrong.Load() != 0 || w.left.Load() != planned-1 || w.seen[5] == 0 {
		t.Errorf("wrong %d, left %d of %d, seen at %v", w.wrong.Load(), w.left.Load(), planned, w.seen[5])
	}
}

func TestSupersededWriteIsInEffectToo(t *testing.T) {
	w, h := watched(t)
	planned := w.left.Load()
	w.published(take(t, w, h, 5+w.plan.touched), h.table.Load())
	if w.wrong.Load() != 0 || w.left.Load() != planned-2 || w.seen[5] == 0 || w.seen[5+w.plan.touched] == 0 {
		t.Errorf("wrong %d, left %d of %d", w.wrong.Load(), w.left.Load(), planned)
	}
}

func TestAnswerBeforeTheWriteIsWrong(t *testing.T) {
	w, h := watched(t)
	planned, old := w.left.Load(), h.table.Load()
	w.published(take(t, w, h, 5), old)
	if w.wrong.Load() != 1 || w.left.Load() != planned || w.seen[5] != 0 {
		t.Errorf("wrong %d, left %d of %d, seen at %v", w.wrong.Load(), w.left.Load(), planned, w.seen[5])
	}
}
