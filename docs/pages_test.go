package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxLine is how long a line of Markdown may be, in characters. Rows of tables and lines of code may
// be longer.
const maxLine = 120

// TestLinesOfMarkdownFitOnAScreen measures the lines of every page.
func TestLinesOfMarkdownFitOnAScreen(t *testing.T) {
	for path, text := range pages(t) {
		fenced, before := false, ""
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			// Four columns are code only where they do not go on with an item of a list.
			code := fenced || strings.HasPrefix(line, "    ") && (before == "" || strings.HasPrefix(before, "    "))
			before = line
			table := strings.HasPrefix(strings.TrimSpace(line), "|")
			if length := utf8.RuneCountInString(line); length > maxLine && !code && !table {
				t.Errorf("%s:%d: %d characters, at most %d", path, i+1, length, maxLine)
			}
		}
	}
}

// link matches a link of Markdown: [text](target).
var link = regexp.MustCompile(`\[[^][]*\]\(([^()\s]+)\)`)

// TestLinksLeadSomewhere follows every link of every page that leads to another file here, and to a
// heading of it.
func TestLinksLeadSomewhere(t *testing.T) {
	all, followed := pages(t), 0
	for path, text := range all {
		for _, match := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			target := match[1]
			if strings.Contains(target, "://") {
				continue
			}
			followed++
			file, heading, _ := strings.Cut(target, "#")
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), filepath.FromSlash(file))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", path, target)
			} else if heading != "" && !headings(all[to])[heading] {
				t.Errorf("%s: the link to %s leads to no heading of %s", path, target, to)
			}
		}
	}
	if followed < 60 {
		t.Errorf("%d links were followed; there are more", followed)
	}
}

// TestEachPageIsLinked looks whether every page of this folder can be found from README.md.
func TestEachPageIsLinked(t *testing.T) {
	readme := pages(t)[filepath.Join("..", "README.md")]
	names, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains(readme, "](docs/"+name+")") {
			t.Errorf("README.md does not lead to docs/%s", name)
		}
	}
}

// pages returns every page of the project by its path from here.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin" || entry.Name() == "dist"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".md") || entry.IsDir():
			return nil
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

// withoutCode returns a page without its blocks of code, in which nothing is a link.
func withoutCode(text string) string {
	var prose []string
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			prose = append(prose, line)
		}
	}
	return strings.Join(prose, "\n")
}

// headings returns the anchors of a page's headings: in lower case, with "-" for spaces, without
// other marks.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	for line := range strings.Lines(withoutCode(text)) {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			anchor := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-")
			anchors[regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(anchor, "")] = true
		}
	}
	return anchors
}
