package docs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEachPackageIsInTheList looks in the list of ARCHITECTURE.md for each package of the module: for a row of its
// own, or for its name in the row of a folder above. Each row leads to a folder. What is generated needs no row.
func TestEachPackageIsInTheList(t *testing.T) {
	rows := packageRows(t)
	for _, p := range listPackages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(folder, "deploy/api/applyconfiguration/") || rows[folder] != nil {
			continue
		}
		above, name := filepath.Split(folder)
		if !slices.Contains(rows[filepath.Clean(above)], name) {
			t.Errorf("docs/ARCHITECTURE.md does not say what %s is: give it a row in the list of packages, or name it in the row of %s", folder, above)
		}
	}
	for folder := range rows {
		if info, err := os.Stat(filepath.Join("..", folder)); err != nil || !info.IsDir() {
			t.Errorf("docs/ARCHITECTURE.md has a row for %s, which is no folder", folder)
		}
	}
}

// packageRows returns the words of each row of the list of packages, by its folder.
func packageRows(t *testing.T) map[string][]string {
	t.Helper()
	list := matchIn(t, "ARCHITECTURE.md", `(?s)\n## Packages, and who may import whom\n\n(.*?)\n\n`)
	rows, folder := map[string][]string{}, ""
	for line := range strings.Lines(list) {
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \n,;:", r) })
		if !strings.HasPrefix(line, "     ") {
			folder, words = words[0], words[1:]
			if rows[folder] != nil {
				t.Errorf("docs/ARCHITECTURE.md has two rows for %s", folder)
			}
		}
		rows[folder] = append(rows[folder], words...)
	}
	return rows
}
