package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gridrouter.io/cmd/flags"
)

// griddev runs the command as its process would, and returns what it printed.
func griddev(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRootCommand(time.Now())
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(io.Discard)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestOwnCurlPrintsWhatCurlPrints(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Fault", "none")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %q %q\n", r.Method, r.Host, r.RequestURI, r.Header["X-A"], body)
	}))
	t.Cleanup(server.Close)
	f := func(want string, args ...string) {
		t.Helper()
		out, err := griddev(t, append([]string{"curl"}, args...)...)
		if err != nil || out != want {
			t.Errorf("curl %q prints %q, %v, not %q", args, out, err, want)
		}
	}
	url := server.URL
	f("GET shop.example /a?b=%2F [\"1\" \"2\"] \"\"\n", "-s", "-H", "Host: shop.example", "-H", "x-a: 1", "-H", "X-A:2", url+"/a?b=%2F")
	f("POST h / [] \"text\"\n", "-H", "Host: h", "-d", "text", url)
	f("PUT h / [] \"text\"\n", "-X", "PUT", "-H", "Host: h", "-d", "text", url)

	out, err := griddev(t, "curl", "-i", url+"/")
	if err != nil || !strings.HasPrefix(out, "HTTP/1.1 418 I'm a teapot\r\n") || !strings.Contains(out, "X-Fault: none\r\n") {
		t.Errorf("curl -i prints %q, %v", out, err)
	}
}

func TestOwnCurlRefusesWhatItCannotAsk(t *testing.T) {
	f := func(status int, args ...string) {
		t.Helper()
		_, err := griddev(t, append([]string{"curl"}, args...)...)
		if err == nil {
			t.Errorf("curl %q is no error", args)
			return
		}
		if got := flags.Exit(err); got != status {
			t.Errorf("curl %q ends with %d: %v", args, got, err)
		}
	}
	f(2, "https://example.com/")
	f(2, "no url")
	f(2, "-H", "no colon", "http://127.0.0.1:1/")
	f(1, "http://127.0.0.1:1/")
}
