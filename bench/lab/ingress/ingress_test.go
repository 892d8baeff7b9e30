package ingress_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/lab/ingress"
	"gridrouter.io/bench/testkit"
)

// start runs an ingress until the test ends and returns its address.
func start(t *testing.T, routes map[string]string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ingress.Serve(ctx, listener, 5*time.Second, ingress.Config{Name: "mesh-1", Routes: routes})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the ingress ended with %v", err)
		}
	})
	return listener.Addr().String()
}

// get asks the ingress for a path of a host.
func get(t *testing.T, address, host, header, value string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+address+"/p?q=%2F", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host, request.Close = host, true
	request.Header.Set(header, value)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func newDeck(t *testing.T, name string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %v %v", name, r.Host, r.RequestURI, r.Header["X-Ingress"], r.Header["X-Forwarded-For"])
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestIngressRoutesByHostAndLeavesItsName(t *testing.T) {
	address := start(t, map[string]string{"one.example": newDeck(t, "one"), "two.example": newDeck(t, "two")})
	f := func(host, want string) {
		t.Helper()
		response, body := get(t, address, host, "X-Forwarded-For", "192.0.2.1")
		if body != want || response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %q, not %q", host, response.StatusCode, body, want)
		}
		if got := response.Header["X-Ingress"]; !slices.Equal(got, []string{"mesh-1"}) {
			t.Errorf("%s: X-Ingress of the answer is %v", host, got)
		}
	}
	f("one.example", "one one.example /p?q=%2F [mesh-1] [192.0.2.1]")
	f("two.example", "two two.example /p?q=%2F [mesh-1] [192.0.2.1]")
	f("TWO.example:8080", "two TWO.example:8080 /p?q=%2F [mesh-1] [192.0.2.1]")
}

func TestIngressSaysWhatItCannotReach(t *testing.T) {
	address := start(t, map[string]string{"gone.example": testkit.FreeAddr(t)})
	f := func(host string, status int, text string) {
		t.Helper()
		response, body := get(t, address, host, "X-Test", "1")
		if response.StatusCode != status || !strings.Contains(body, text) || response.Header.Get("X-Ingress") != "mesh-1" {
			t.Errorf("%s: %d %q %v", host, response.StatusCode, body, response.Header)
		}
	}
	f("unknown.example", http.StatusNotFound, "knows no deck")
	f("gone.example", http.StatusBadGateway, "cannot reach")
}
