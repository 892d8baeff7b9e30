package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// guaranteePage is the page that says which test holds which guarantee.
const guaranteePage = "GUARANTEES.md"

// guarantee is one row of the page.
type guarantee struct {
	section string
	line    int
	text    string
	holders []string // what stands in backquotes in the second column
}

// TestEveryGuaranteeNamesTestsThatExist reads the page: each row names one test or file at
// least, and each of them is there.
func TestEveryGuaranteeNamesTestsThatExist(t *testing.T) {
	rows := readGuarantees(t)
	functions := map[string]map[string]bool{}
	for _, row := range rows {
		if row.text == "" || len(row.holders) == 0 {
			t.Errorf("%s:%d: a row is a guarantee and the tests that hold it", guaranteePage, row.line)
		}
		for _, holder := range row.holders {
			folder, what, ok := strings.Cut(holder, ": ")
			if !ok {
				t.Errorf("%s:%d: %q is not PACKAGE: TEST", guaranteePage, row.line, holder)
				continue
			}
			if functions[folder] == nil {
				functions[folder] = testsOf(t, folder)
			}
			if why := missing(t, folder, what, functions[folder]); why != "" {
				t.Errorf("%s:%d: %q: %s", guaranteePage, row.line, holder, why)
			}
		}
	}
}

// TestEverySectionHasGuarantees holds the page to its sections.
func TestEverySectionHasGuarantees(t *testing.T) {
	want := []string{
		"Documents", "Meaning", "Following etcd", "What a deck receives", "What a client receives", "Admin endpoints", "gridctl",
		"Exit status, draining, readiness and signals", "The snapshot", "Connections: tunnels, retries, PROXY, TLS", "Kinds in Kubernetes", "Fleets in Kubernetes", "Etcd clusters", "Refused until built",
	}
	var got []string
	rows := map[string]int{}
	for _, row := range readGuarantees(t) {
		if rows[row.section]++; rows[row.section] == 1 {
			got = append(got, row.section)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the sections with rows are %q, want %q", got, want)
	}
	for _, section := range want {
		if rows[section] < 5 && section != "Refused until built" { // that one is to become empty
			t.Errorf("%q has %d rows; there is more to guarantee", section, rows[section])
		}
	}
}

var namedTest = regexp.MustCompile("`([a-z]+(?:/[a-z]+)*): (Test\\w+)`")

// TestPagesNameTestsThatExist holds the other pages to the tests that they name.
func TestPagesNameTestsThatExist(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob(filepath.Join("adr", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range append(pages, decisions...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range namedTest.FindAllStringSubmatch(string(text), -1) {
			if named++; match[2] != "TestName" && !testsOf(t, match[1])[match[2]] {
				t.Errorf("%s names %s, which package %s does not have", page, match[2], match[1])
			}
		}
	}
	if named < 10 {
		t.Errorf("the pages name %d tests; there are more", named)
	}
}

var backquoted = regexp.MustCompile("`([^`]+)`")

// readGuarantees reads the tables of the page.
func readGuarantees(t *testing.T) []guarantee {
	t.Helper()
	page, err := os.ReadFile(guaranteePage)
	if err != nil {
		t.Fatal(err)
	}
	var rows []guarantee
	section, number := "", 0
	for line := range strings.Lines(string(page)) {
		number++
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || line == "| guarantee | held by |" {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		row := guarantee{section: section, line: number, text: strings.TrimSpace(cells[0])}
		if len(cells) != 2 {
			t.Errorf("%s:%d: has %d columns, want 2", guaranteePage, number, len(cells))
		}
		for _, match := range backquoted.FindAllStringSubmatch(cells[len(cells)-1], -1) {
			row.holders = append(row.holders, match[1])
		}
		rows = append(rows, row)
	}
	return rows
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsOf returns the names of a package's test functions.
func testsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range testFunction.FindAllSubmatch(text, -1) {
			names[string(match[1])] = true
		}
	}
	return names
}

// missing says why a test, a file, or a part of an archive ("FILE # PART") is not there;
// empty: it is.
func missing(t *testing.T, folder, what string, functions map[string]bool) string {
	t.Helper()
	if strings.HasPrefix(what, "Test") {
		if !functions[what] {
			return "the package has no such test"
		}
		return ""
	}
	file, part, parted := strings.Cut(what, " # ")
	if !strings.HasPrefix(file, "testdata/") {
		return "is neither a test nor a file in testdata"
	}
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(folder), filepath.FromSlash(file)))
	if err != nil {
		return "there is no such file"
	}
	if parted && !strings.Contains(string(text), "-- "+part+" --\n") {
		return "the archive has no such part"
	}
	return ""
}
