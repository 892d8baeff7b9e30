package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// splitJSON is the tests' document form: one object, key to value.
func splitJSON(name string, data []byte) ([]Entry, error) {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, nil
	}
	var pairs map[string]string
	if err := json.Unmarshal(data, &pairs); err != nil {
		return nil, errors.New("is no JSON object of strings")
	}
	var entries []Entry
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		entries = append(entries, Entry{Key: key, Value: []byte(pairs[key]), Origin: name + ":1"})
	}
	return entries, nil
}

func openFolder(dir string) *Folder {
	return NewFolder(FolderConfig{Dir: dir, Split: splitJSON, Settle: 5 * time.Millisecond})
}

// replaceFile writes as careful editors do: aside, then renamed over.
func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	aside := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	writeFile(t, aside, content)
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// folderWriter keeps all that was written in one file.
type folderWriter struct {
	path  string
	pairs map[string]string
}

func (w *folderWriter) commit(t *testing.T, put map[string]string, deleted ...string) {
	t.Helper()
	maps.Copy(w.pairs, put)
	for _, key := range deleted {
		delete(w.pairs, key)
	}
	content, err := json.Marshal(w.pairs)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, w.path, string(content))
}

func TestFolderKeepsTheSourceContract(t *testing.T) {
	testSource(t, func(t *testing.T) (Source, writer) {
		dir := t.TempDir()
		return openFolder(dir), &folderWriter{path: filepath.Join(dir, "all.json"), pairs: map[string]string{}}
	})
}

func (r *receiver) awaitFault(origin, part string) {
	r.t.Helper()
	r.await(fmt.Sprintf("a fault at %s that says %q", origin, part), func(map[string]Entry, []Batch) bool {
		return slices.ContainsFunc(r.faults, func(f Fault) bool {
			return f.Origin == origin && strings.Contains(f.Message, part)
		})
	})
}

func (r *receiver) awaitNoFault() {
	r.t.Helper()
	r.await("no fault", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 0 && len(r.faults) == 0 })
}

func TestFolderFollowsSymlinkSwaps(t *testing.T) {
	// As the kubelet lays out a ConfigMap mount.
	dir := t.TempDir()
	generation := func(name, content string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name, "a.json"), content)
		aside := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, aside); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(aside, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	generation("..2026_01", `{"a": "1"}`)
	if err := os.Symlink(filepath.Join("..data", "a.json"), filepath.Join(dir, "a.json")); err != nil {
		t.Fatal(err)
	}
	source := NewFolder(FolderConfig{Dir: dir, Split: splitJSON, Settle: 5 * time.Millisecond, Poll: time.Hour})
	r := follow(t, source)
	r.awaitState(map[string]string{"a": "1"})
	generation("..2026_02", `{"a": "2"}`)
	if err := os.RemoveAll(filepath.Join(dir, "..2026_01")); err != nil {
		t.Fatal(err)
	}
	r.awaitState(map[string]string{"a": "2"})
	r.awaitNoFault()
}

func TestFolderBadFileKeepsItsFormerEntries(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.json"), filepath.Join(dir, "wobbly.json")
	writeFile(t, good, `{"g": "1"}`)
	writeFile(t, bad, `{"w": "1"}`)
	r := follow(t, openFolder(dir))
	r.awaitState(map[string]string{"g": "1", "w": "1"})

	replaceFile(t, bad, `{"w": `)
	r.awaitFault("wobbly.json", "former 1 entries stay in force")
	replaceFile(t, good, `{"g": "2"}`)
	r.awaitState(map[string]string{"g": "2", "w": "1"})
	r.awaitFault("wobbly.json", "no JSON object")

	replaceFile(t, bad, `{"w": "2"}`)
	r.awaitState(map[string]string{"g": "2", "w": "2"})
	r.awaitNoFault()
}

func TestFolderNewBadFileIsOnlyAFault(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.json"), `{"a": "1"}`)
	writeFile(t, filepath.Join(dir, "b.json"), `not at all`)
	r := follow(t, openFolder(dir))
	r.awaitState(map[string]string{"a": "1"})
	r.awaitFault("b.json", "no JSON object")
	if err := os.Remove(filepath.Join(dir, "b.json")); err != nil {
		t.Fatal(err)
	}
	r.awaitNoFault()
}

func TestFolderEmptiedFileKeepsItsEntriesUntilRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	writeFile(t, path, `{"a": "1"}`)
	r := follow(t, openFolder(dir))
	r.awaitState(map[string]string{"a": "1"})
	writeFile(t, path, "")
	r.awaitFault("a.json", "is empty")
	r.awaitState(map[string]string{"a": "1"})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.awaitState(map[string]string{})
	r.awaitNoFault()
}

func TestFolderSameKeyTwiceFirstFileWins(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "2.json"), `{"a": "second", "b": "2"}`)
	writeFile(t, filepath.Join(dir, "1.json"), `{"a": "first"}`)
	r := follow(t, openFolder(dir))
	r.awaitState(map[string]string{"a": "first", "b": "2"})
	r.awaitFault("2.json:1", "1.json:1")
	if err := os.Remove(filepath.Join(dir, "1.json")); err != nil {
		t.Fatal(err)
	}
	r.awaitState(map[string]string{"a": "second", "b": "2"})
	r.awaitNoFault()
}

func TestFolderAbsentIsNotEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "routes")
	source := openFolder(dir)
	r := follow(t, source)
	testkit.Eventually(t, "a status that names the absent folder", func() bool {
		s := source.Status()
		return !s.Connected && !s.Synced && strings.Contains(s.LastError, "does not exist") && strings.Contains(s.LastError, dir)
	})
	if got := r.received(); len(got) != 0 {
		t.Fatalf("an absent folder gave %+v", got)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "a.json"), `{"a": "1"}`)
	r.awaitState(map[string]string{"a": "1"})

	// Taken away, it stays in force; made again, it is followed again.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a status that tells of the loss", func() bool { return !source.Status().Connected })
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	replaceFile(t, filepath.Join(dir, "a.json"), `{"a": "2"}`)
	r.awaitState(map[string]string{"a": "2"})
	replaceFile(t, filepath.Join(dir, "a.json"), `{"a": "3"}`)
	r.awaitState(map[string]string{"a": "3"})
}

func TestFolderPassesOverWhatIsNoDocument(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".a.json", ".a.json.swp", "a.json~", "#a.json#", ".#a.json", "4913", "README.md"} {
		writeFile(t, filepath.Join(dir, name), `{"wrong": "`+name+`"}`)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.json", "b.yaml", "c.yml"} {
		writeFile(t, filepath.Join(dir, name), `{"`+name+`": "1"}`)
	}
	r := follow(t, openFolder(dir))
	r.awaitState(map[string]string{"a.json": "1", "b.yaml": "1", "c.yml": "1"})
	r.awaitNoFault()
}

func TestFolderRefusesLargeFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	writeFile(t, path, `{"a": "1"}`)
	source := NewFolder(FolderConfig{Dir: dir, Split: splitJSON, Settle: 5 * time.Millisecond, FileLimit: 100})
	r := follow(t, source)
	r.awaitState(map[string]string{"a": "1"})
	replaceFile(t, path, `{"a": "`+strings.Repeat("x", 100)+`"}`)
	r.awaitFault("a.json", "100 bytes")
	r.awaitState(map[string]string{"a": "1"})
}

func TestFolderUnchangedContentIsNoBatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	writeFile(t, path, `{"a": "1"}`)
	source := NewFolder(FolderConfig{Dir: dir, Split: splitJSON, Settle: time.Millisecond, Poll: 5 * time.Millisecond})
	r := follow(t, source)
	r.awaitState(map[string]string{"a": "1"})
	replaceFile(t, path, `{"a":    "1"}`)
	writeFile(t, filepath.Join(dir, "b.json"), `{"b": "1"}`)
	r.awaitState(map[string]string{"a": "1", "b": "1"})
	if got := len(r.received()); got != 2 {
		t.Errorf("%d batches, want 2: the first list and the new file", got)
	}
}

func TestFolderFollowsWithoutWordFromTheSystem(t *testing.T) {
	// The folder is a link that is turned to another one: nothing in the
	// folder itself changes, so only the poll can see it.
	base := t.TempDir()
	for _, name := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(base, name, "a.json"), `{"a": "`+name+`"}`)
	}
	link := filepath.Join(base, "current")
	turn := func(name string) {
		aside := filepath.Join(base, "aside")
		if err := os.Symlink(name, aside); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(aside, link); err != nil {
			t.Fatal(err)
		}
	}
	turn("1")
	source := NewFolder(FolderConfig{Dir: link, Split: splitJSON, Settle: time.Millisecond, Poll: 10 * time.Millisecond})
	r := follow(t, source)
	r.awaitState(map[string]string{"a": "1"})
	turn("2")
	r.awaitState(map[string]string{"a": "2"})
}

// TestFolderWaitsForTheWriterOfAFile writes files in place as copying tools do, with pauses: truncated,
// overwritten, appended to, and new ones; from the first list on. No half of one is ever seen.
func TestFolderWaitsForTheWriterOfAFile(t *testing.T) {
	const entries = 50
	content := func(n int) string {
		pairs := map[string]string{}
		for i := range entries {
			pairs[fmt.Sprintf("k%02d", i)] = fmt.Sprint(n)
		}
		text, err := json.Marshal(pairs)
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + strings.Repeat(" ", 3*n) // another length each time
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	slowly := func(n, flags int) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		text := content(n)
		for i := 0; i < len(text); i += 1 + len(text)/5 {
			if _, err := file.WriteString(text[i:min(len(text), i+1+len(text)/5)]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(60 * time.Millisecond) // more than the folder must be still
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	started := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		slowly(1, os.O_TRUNC|os.O_EXCL)
	}()
	go func() {
		defer close(started)
		for {
			if _, err := os.Stat(path); err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	<-started
	r := followWith(t, openFolder(dir), func(state map[string]Entry, batch Batch) {
		values := map[string]int{}
		for _, entry := range state {
			values[string(entry.Value)]++
		}
		if len(state) != entries || len(values) != 1 || len(batch.Faults) > 0 {
			t.Errorf("a batch has %d entries of %v, faults %v", len(state), values, batch.Faults)
		}
	})
	<-done
	all := func(n int) func(map[string]Entry, []Batch) bool {
		return func(state map[string]Entry, _ []Batch) bool { return string(state["k49"].Value) == fmt.Sprint(n) }
	}
	r.await("the first list", all(1))
	for n := 2; n < 5; n++ {
		slowly(n, []int{os.O_TRUNC, 0, os.O_TRUNC}[n-2])
		r.await("what was written", all(n))
	}
	if err := r.stop(); !isCanceled(err) {
		t.Error(err)
	}
}

// TestAFileThatIsWrittenAtTheStartIsNotLeftOutUnsaid keeps a file open for writing until the first list
// has come without it. One that is begun later is no fault so soon.
func TestAFileThatIsWrittenAtTheStartIsNotLeftOutUnsaid(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.json"), `{"a": "1"}`)
	write := func(name string) (end func()) {
		t.Helper()
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			_, err := file.WriteString(`{"` + name + `": "1"}`)
			if err := errors.Join(err, file.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	endB := write("b.json")
	source := openFolder(dir)
	source.firstWaits = 50 * time.Millisecond
	r := follow(t, source)
	r.awaitFault("b.json", "is being written since the start, and is left out until its writer has closed it")
	r.awaitState(map[string]string{"a": "1"})
	endC := write("c.json")
	replaceFile(t, filepath.Join(dir, "a.json"), `{"a": "2"}`)
	r.awaitState(map[string]string{"a": "2"})
	endB()
	r.awaitState(map[string]string{"a": "2", "b.json": "1"})
	r.awaitNoFault()
	endC()
	r.awaitState(map[string]string{"a": "2", "b.json": "1", "c.json": "1"})
	for _, batch := range r.received() {
		if slices.ContainsFunc(batch.Faults, func(f Fault) bool { return f.Origin == "c.json" }) {
			t.Errorf("c.json was begun after the first list, and is a fault: %v", batch.Faults)
		}
	}
}

// TestAFolderThatIsSwappedWhileItIsReadIsReadAsOne swaps a folder as a ConfigMap mount does, while its
// first file is being read: a document moves from one file to the other, either way.
func TestAFolderThatIsSwappedWhileItIsReadIsReadAsOne(t *testing.T) {
	for _, from := range []string{"a.yaml", "b.yaml"} {
		dir := t.TempDir()
		write := func(version string, files map[string]string) {
			for name, text := range files {
				if err := errors.Join(os.MkdirAll(filepath.Join(dir, version), 0o700), os.WriteFile(filepath.Join(dir, version, name), []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		}
		swap := func(version string) {
			aside := filepath.Join(dir, "..data_tmp")
			if err := errors.Join(os.Symlink(version, aside), os.Rename(aside, filepath.Join(dir, "..data"))); err != nil {
				t.Error(err)
			}
		}
		to := map[string]string{"a.yaml": "b.yaml", "b.yaml": "a.yaml"}[from]
		write("..v1", map[string]string{from: "moves", to: "stays-" + to})
		write("..v2", map[string]string{from: "stays-" + from, to: "moves"})
		swap("..v1")
		for _, name := range []string{"a.yaml", "b.yaml"} {
			if err := os.Symlink("..data/"+name, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		swapped := false
		source := NewFolder(FolderConfig{Dir: dir, Split: func(name string, data []byte) (entries []Entry, err error) {
			if !swapped && name == "a.yaml" {
				swapped = true
				swap("..v2")
			}
			for key := range strings.FieldsSeq(string(data)) {
				entries = append(entries, Entry{Key: key, Value: []byte("1")})
			}
			return entries, nil
		}})
		r := follow(t, source)
		r.awaitState(map[string]string{"moves": "1", "stays-" + from: "1"})
		for _, batch := range r.received() {
			if len(batch.Put) != 2 || len(batch.Faults) > 0 || !slices.ContainsFunc(batch.Put, func(e Entry) bool { return e.Key == "moves" }) {
				t.Errorf("it moves from %s, and a batch has %v, %v", from, batch.Put, batch.Faults)
			}
		}
	}
}
