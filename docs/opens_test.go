package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNamedFilesAreOpenedWithoutWaiting keeps what waits for the other end of a pipe out of
// what runs in production: files that users name are opened by the package files.
func TestNamedFilesAreOpenedWithoutWaiting(t *testing.T) {
	waits := regexp.MustCompile(`os\.(Open|OpenFile|ReadFile|WriteFile|Create)\(|tls\.LoadX509KeyPair\(|WithFile\(`)
	allowed := map[string]string{ // file and what stands on the line -> why
		"discovery/files/files.go: os.OpenFile":       "this is where it is done, with O_NONBLOCK",
		"cmd/gridrouter/explain.go: os.Open(f.batch)": "a tool that reads a stream of any length, and that its user can end",
		"discovery/snapshot.go: O_EXCL":               "it makes a new file, and takes none that is there",
		"discovery/snapshot.go: Open(dir)":            "a folder that was written to just before",
	}
	used := map[string]bool{}
	for _, room := range []string{"discovery", "gslb", "router", "routing", "cmd/flags", "cmd/gridrouter"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
			for i, line := range strings.Split(string(text), "\n") {
				if waits.MatchString(line) && !allows(allowed, used, name, line) {
					t.Errorf("%s:%d: %s: may wait for ever for the other end of a pipe; use the package files", name, i+1, strings.TrimSpace(line))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for what := range allowed {
		if !used[what] {
			t.Errorf("nothing needs the exception %q any more; remove it", what)
		}
	}
}

func allows(allowed map[string]string, used map[string]bool, name, line string) bool {
	for what := range allowed {
		file, part, _ := strings.Cut(what, ": ")
		if file == name && strings.Contains(line, part) {
			used[what] = true
			return true
		}
	}
	return false
}
