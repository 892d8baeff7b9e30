package docs_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rulesFile     = "../deploy/manifests/monitoring/rules.yaml"
	dashboardFile = "../deploy/manifests/monitoring/dashboard.json"
)

// rules is what a file of Prometheus rules has, as far as these tests look.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// TestAlertsNameMetricsThatExistAndAreExplained reads the rules: each is whole, names metrics that
// exist, and has a row in OPERATIONS.md with its severity; no row is without its rule.
func TestAlertsNameMetricsThatExistAndAreExplained(t *testing.T) {
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file rules
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(Gridrouter\\w+)` \\| [^|]+ \\| (\\w+) \\| .+ \\|$").FindAllStringSubmatch(string(page), -1) {
		explained[row[1]] = row[2]
	}
	exist := metricsOfPage(t)
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || rule.Expr == "" || rule.Annotations["summary"] == "" {
				t.Errorf("%s: %+v lacks its name, its expression or its summary", group.Name, rule)
			}
			if severity := rule.Labels["severity"]; explained[rule.Alert] != severity || severity != "page" && severity != "ticket" {
				t.Errorf("%s: its severity is %q, in OPERATIONS.md %q", rule.Alert, severity, explained[rule.Alert])
			}
			checkMetrics(t, rule.Alert, rule.Expr, exist)
			delete(explained, rule.Alert)
		}
	}
	for alert := range explained {
		t.Errorf("OPERATIONS.md explains %s, for which there is no rule (or two)", alert)
	}
}

// TestTheDashboardNamesMetricsThatExist reads the dashboard for Grafana.
func TestTheDashboardNamesMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title      string
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	if board.Title == "" || len(board.Panels) < 10 {
		t.Errorf("the dashboard %q has %d panels", board.Title, len(board.Panels))
	}
	exist, ids := metricsOfPage(t), map[int]bool{}
	for _, panel := range board.Panels {
		if panel.Title == "" || panel.GridPos.W == 0 || ids[panel.ID] || len(panel.Targets) == 0 {
			t.Errorf("panel %d %q lacks its title, place or targets, or its ID is there twice", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			checkMetrics(t, panel.Title, target.Expr, exist)
		}
	}
	for _, variable := range board.Templating.List {
		if query, ok := variable.Query.(map[string]any); ok {
			checkMetrics(t, variable.Name, query["query"].(string), exist)
		}
	}
}

var metricName = regexp.MustCompile(`\b(?:gridrouter|process|go)_[a-z0-9_]+`)

// checkMetrics looks whether an expression names metrics that exist, and at least one.
func checkMetrics(t *testing.T, where, expression string, exist []string) {
	t.Helper()
	names := metricName.FindAllString(expression, -1)
	if len(names) == 0 && !strings.HasPrefix(expression, "up{") {
		t.Errorf("%s: %q names no metric of ours", where, expression)
	}
	for _, name := range names {
		if !slices.Contains(exist, strings.TrimSuffix(name, "_bucket")) {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
}

// metricsOfPage returns the metrics of METRICS.md, which another test holds to the registries, and
// those of the process that these rules need.
func metricsOfPage(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"go_sched_gomaxprocs_threads", "process_cpu_seconds_total", "process_max_fds", "process_open_fds", "process_resident_memory_bytes"}
	for _, row := range regexp.MustCompile("(?m)^\\| `(gridrouter_[a-z_]+)`").FindAllSubmatch(page, -1) {
		names = append(names, string(row[1]))
	}
	return names
}
