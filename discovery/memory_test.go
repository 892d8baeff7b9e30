package discovery

import "testing"

type memoryWriter struct{ memory *Memory }

func (w memoryWriter) commit(_ *testing.T, put map[string]string, deleted ...string) {
	for key, value := range put {
		w.memory.Put(key, []byte(value))
	}
	for _, key := range deleted {
		w.memory.Delete(key)
	}
	w.memory.Commit()
}

func TestMemoryKeepsTheSourceContract(t *testing.T) {
	testSource(t, func(*testing.T) (Source, writer) {
		memory := NewMemory()
		return memory, memoryWriter{memory}
	})
}

func TestMemoryCommitOfNothingIsNoRevision(t *testing.T) {
	memory := NewMemory()
	memory.Put("a", []byte("1"))
	if got := memory.Commit(); got != 1 {
		t.Fatalf("first commit is revision %d", got)
	}
	memory.Delete("never there")
	if got := memory.Commit(); got != 1 {
		t.Errorf("a commit that changes nothing is revision %d, want 1 still", got)
	}
}

func TestMemoryKeyPutAgainIsNew(t *testing.T) {
	memory := NewMemory()
	r := follow(t, memory)
	w := memoryWriter{memory}
	w.commit(t, map[string]string{"a": "1"})
	w.commit(t, nil, "a")
	w.commit(t, map[string]string{"a": "2"})
	r.awaitState(map[string]string{"a": "2"})
	if got := r.entry("a"); got.Created != 3 || got.Revision != 3 {
		t.Errorf("entry is %+v, want it created at revision 3", got)
	}
}
