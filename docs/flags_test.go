package docs_test

import (
	"go/ast"
	"go/constant"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTheFlagsPageHasEveryFlag compares FLAGS.md with the flags that gridrouter registers.
func TestTheFlagsPageHasEveryFlag(t *testing.T) {
	name := regexp.MustCompile(`^"([a-z][a-z-]+)"$`)
	registered := map[string]bool{"config": true} // its name is a constant
	add := func(expression ast.Expr) {
		if match := name.FindStringSubmatch(textOf(expression, nil)); match != nil {
			registered[match[1]] = true
		}
	}
	for _, file := range parseRooms(t, "../cmd/gridrouter", "../cmd/flags") {
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr: // fs.StringVar(&value, "name", default, usage)
				method := strings.TrimSuffix(lastName(node.Fun), "P")
				if strings.HasSuffix(method, "Var") && len(node.Args) >= 4 {
					add(node.Args[1])
				}
			case *ast.CompositeLit: // waits: {"name", &value, default, help}
				if array, ok := node.Type.(*ast.ArrayType); ok && lastName(array.Elt) == "wait" {
					for _, element := range node.Elts {
						add(element.(*ast.CompositeLit).Elts[0])
					}
				}
			}
			return true
		})
	}
	page, err := os.ReadFile("FLAGS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.HasPrefix(line, "| `--") {
			for _, match := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(cell, -1) {
				documented[match[1]] = true
			}
		}
	}
	if len(registered) < 40 {
		t.Fatalf("the code registers %d flags as this test reads it; it must have changed its form", len(registered))
	}
	for flag := range registered {
		if !documented[flag] {
			t.Errorf("FLAGS.md lacks --%s", flag)
		}
	}
	for flag := range documented {
		if !registered[flag] {
			t.Errorf("FLAGS.md has --%s, which nobody registers", flag)
		}
	}
}

// TestTheUnitWaitsForTheDrain holds the systemd unit to the flags that it depends on.
func TestTheUnitWaitsForTheDrain(t *testing.T) {
	unit, err := os.ReadFile("../deploy/manifests/systemd/gridrouter.service")
	if err != nil {
		t.Fatal(err)
	}
	defaults := durationFlags(t)
	drain := defaults["drain-delay"] + defaults["drain-timeout"]
	if drain < time.Second {
		t.Fatalf("the drain flags take %v by default, as this test reads the code", drain)
	}
	settings := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^(\w+)=(.+)$`).FindAllStringSubmatch(string(unit), -1) {
		settings[match[1]] = match[2]
	}
	if seconds, err := strconv.Atoi(settings["TimeoutStopSec"]); err != nil || time.Duration(seconds)*time.Second < drain+5*time.Second {
		t.Errorf("TimeoutStopSec=%s; a drain takes up to %v, and the end some seconds more", settings["TimeoutStopSec"], drain)
	}
	for name, want := range map[string]string{"Type": "notify", "TimeoutStartSec": "infinity", "NoNewPrivileges": "yes", "ProtectSystem": "strict"} {
		if settings[name] != want {
			t.Errorf("%s=%s, want %s", name, settings[name], want)
		}
	}
	if files, _ := strconv.Atoi(settings["LimitNOFILE"]); files < 1<<16 {
		t.Errorf("LimitNOFILE=%s is little for a proxy", settings["LimitNOFILE"])
	}
	if settings["ProcSubset"] == "pid" {
		t.Error("ProcSubset=pid hides net.core.somaxconn: each listener's queue would have 128 places")
	}
}

// TestTheFlagsPageHasTheDefaultsOfDurations compares those defaults that the code writes as a number
// and a unit.
func TestTheFlagsPageHasTheDefaultsOfDurations(t *testing.T) {
	page, err := os.ReadFile("FLAGS.md")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, want := range durationFlags(t) {
		row := regexp.MustCompile("(?m)^\\| `--" + name + " [^|]*\\| .+ \\| ([^|]+) \\|$").FindSubmatch(page)
		if row == nil {
			t.Errorf("FLAGS.md has no row for --%s", name)
			continue
		}
		if got, err := time.ParseDuration(string(row[1])); err != nil || got != want {
			t.Errorf("FLAGS.md says that --%s is %s by default; it is %v", name, row[1], want)
		}
		compared++
	}
	if compared < 8 {
		t.Errorf("%d defaults were compared; there are more", compared)
	}
}

// durationFlags returns the default of each flag of package gridrouter that is a duration written as
// a number and a unit.
func durationFlags(t *testing.T) map[string]time.Duration {
	t.Helper()
	defaults := map[string]time.Duration{}
	add := func(name, value ast.Expr) {
		if text := textOf(name, nil); strings.HasPrefix(text, `"`) {
			if d, ok := durationOf(value); ok {
				defaults[strings.Trim(text, `"`)] = d
			}
		}
	}
	for _, file := range parseRooms(t, "../cmd/gridrouter") {
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr:
				if lastName(node.Fun) == "DurationVar" && len(node.Args) == 4 {
					add(node.Args[1], node.Args[2])
				}
			case *ast.CompositeLit:
				if array, ok := node.Type.(*ast.ArrayType); ok && lastName(array.Elt) == "wait" {
					for _, element := range node.Elts {
						add(element.(*ast.CompositeLit).Elts[0], element.(*ast.CompositeLit).Elts[2])
					}
				}
			}
			return true
		})
	}
	return defaults
}

// durationOf reads time.UNIT, or N * time.UNIT.
func durationOf(expression ast.Expr) (time.Duration, bool) {
	units := map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}
	switch e := expression.(type) {
	case *ast.SelectorExpr:
		unit, ok := units[e.Sel.Name]
		return unit, ok
	case *ast.BinaryExpr:
		count, isNumber := e.X.(*ast.BasicLit)
		unit, ok := units[lastName(e.Y)]
		if e.Op != token.MUL || !isNumber || !ok {
			return 0, false
		}
		n, exact := constant.Int64Val(constant.MakeFromLiteral(count.Value, count.Kind, 0))
		return time.Duration(n) * unit, exact
	}
	return 0, false
}
