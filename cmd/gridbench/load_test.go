package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gridrouter.io/bench/load"
	"gridrouter.io/cmd/flags"
)

// server answers with a deck's name and a body, over HTTP or HTTPS.
func server(t *testing.T, start func(*httptest.Server)) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Deck", map[string]string{"h0.example": "d0", "h1.example": "d1"}[r.Host])
		_, _ = w.Write([]byte("hello " + r.Header.Get("X-User-Id")[:1]))
	}))
	start(s)
	t.Cleanup(s.Close)
	return s.URL
}

func TestLoadIsMadeCheckedAndTold(t *testing.T) {
	dir := t.TempDir()
	body, page := filepath.Join(dir, "body"), filepath.Join(dir, "page.html")
	if err := os.WriteFile(body, []byte("hello u"), 0o600); err != nil {
		t.Fatal(err)
	}
	for scheme, start := range map[string]func(*httptest.Server){"http": (*httptest.Server).Start, "https": (*httptest.Server).StartTLS} {
		url := server(t, start)
		args := []string{"load", url + "/x", "--requests", "50", "-c", "2", "--host", "h{}.example", "--hosts", "2", "--key-header", "X-User-Id", "--key", "u{}",
			"--expect-header", "X-Deck: d0, d1", "--expect-body", body, "--insecure"}
		status, out, errors := gridbench(t, append(args, "--html", page)...)
		if status != flags.ExitClean || !strings.Contains(out, "errors     0") || !strings.HasPrefix(out, "answers    5") {
			t.Errorf("%s: status %d\n%s\n%s", scheme, status, out, errors)
		}
		if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "Latency by percentile") {
			t.Errorf("%s: %v, %d bytes", scheme, err, len(text))
		}
		status, out, _ = gridbench(t, append(args, "-o", "json", "-q")...)
		var result load.Result
		if err := json.Unmarshal([]byte(out), &result); err != nil || status != flags.ExitClean || result.Requests < 50 {
			t.Errorf("%s: status %d, %v\n%s", scheme, status, err, out)
		}
		status, out, errors = gridbench(t, append(args, "--expect-header", "X-Deck: d0, d2", "-q")...)
		if status != flags.ExitFault || !strings.Contains(out, "wrong header") || !strings.Contains(errors, "answered wrongly") {
			t.Errorf("%s: a wrong deck: status %d\n%s\n%s", scheme, status, out, errors)
		}
	}
}

func TestMistakesInALoadAreUsageErrors(t *testing.T) {
	for want, args := range map[string][]string{
		"write one":               {"load"},
		"is no URL":               {"load", "nonsense"},
		"scheme":                  {"load", "ftp://x/"},
		"between 0 and":           {"load", "http://x/", "--rate", "-1"},
		"--host: the pattern":     {"load", "http://x/", "--host", "a{"},
		"--key-zipf":              {"load", "http://x/", "--key-header", "x", "--key-zipf", "1"},
		"--hosts-file":            {"load", "http://x/", "--hosts-file", "no such file"},
		"--expect-header":         {"load", "http://x/", "--expect-header", "X-Deck"},
		"--expect-body":           {"load", "http://x/", "--expect-body", "no such file"},
		"--ca":                    {"load", "https://x/", "--ca", "no such file"},
		"neither table nor json":  {"load", "http://x/", "-o", "yaml"},
		"did you mean --duration": {"load", "http://x/", "--duratoin", "1s"},
		"no part":                 {"compare", "--only", "smal"},
		"no peer":                 {"compare", "--peers", "iis"},
		"make build":              {"compare", "--router", "no such file"},
		"hosts":                   {"compare", "--hosts", "5"},
	} {
		if status, _, errors := gridbench(t, args...); status != flags.ExitUsage || !strings.Contains(errors, want) || strings.Count(errors, "\n") != 1 {
			t.Errorf("%v: status %d\n%s want %q", args, status, errors, want)
		}
	}
}
