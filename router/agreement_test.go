package router

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
)

// TestExplainAndTheDataPathAgree sends random requests over random policies through a
// router on a real socket, and asks for the explanation of each.
func TestExplainAndTheDataPathAgree(t *testing.T) {
	requests, policies := 10000, 20
	if testing.Short() || raceEnabled {
		requests = 2000
	}
	g := newGrid(t, nil)
	random := rand.New(rand.NewPCG(4, 2))
	var addrs []string
	for i := range 4 {
		addrs = append(addrs, answering(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nd%d", i)).addr)
	}
	w := g.dial()
	reached := map[string]int{}
	for i := range requests {
		if i%(requests/policies) == 0 {
			g.put(randomDocuments(random, addrs)...)
		}
		method, url, headers := randomRequest(random)
		want, err := admission.Explain(g.router.Table(), nil, admission.Question{URL: url, Method: method, Headers: headers, ClientIP: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		w.send(rawRequest(method, url, headers))
		r := w.reply(method)
		got := r.fault()
		if r.StatusCode == http.StatusOK && method != "HEAD" {
			got = r.body
		}
		expected := want.Deck
		if want.Fault != "" {
			expected = string(want.Fault)
		} else if method == "HEAD" {
			expected = ""
		}
		if got != expected {
			t.Fatalf("request %d: %s %s %q: the data path says %q, explain %q\n%s", i, method, url, headers, got, expected, want.Text())
		}
		reached[expected]++
		if r.Close {
			_ = w.Close()
			w = g.dial()
		}
	}
	t.Logf("outcomes: %v", reached)
	for _, outcome := range []string{"d0", "d1", "d2", "d3", "no_tenant", "no_rule", "key_missing", "bad_request", "deck_down", "method_not_allowed"} {
		if reached[outcome] == 0 {
			t.Errorf("no request ended in %s: the test does not see enough", outcome)
		}
	}
}

// rawRequest is what a client sends for a URL: admission.Explain promises to take it the
// same way.
func rawRequest(method, url string, headers []string) string {
	rest := strings.TrimPrefix(url, "http://")
	host, target, found := strings.Cut(rest, "/")
	if target = "/" + target; !found {
		target = "/"
	}
	return method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

func pickOne[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

func randomDocuments(random *rand.Rand, addrs []string) []any {
	var docs []any
	for i, addr := range addrs {
		deck := deckAt(fmt.Sprintf("d%d", i), addr)
		if random.IntN(5) == 0 {
			deck.State = routing.DeckDown
			if random.IntN(2) == 0 {
				deck.Standby = fmt.Sprintf("d%d", (i+1)%len(addrs))
			}
		}
		docs = append(docs, deck)
	}
	for i, hosts := range [][]string{{"a.test", "*.a.test"}, {"b.test"}, {"x.b.test", "c.test"}} {
		tenant := tenantOn(fmt.Sprintf("t%d", i), "d0", hosts...)
		tenant.Rules = nil
		for j := range 1 + random.IntN(4) {
			tenant.Rules = append(tenant.Rules, randomRule(random, j))
		}
		docs = append(docs, tenant)
	}
	return append(docs, &routing.Pin{Tenant: "t0", Key: "5", Deck: "d3"}, &routing.Pin{Tenant: "t0", Key: "k%20", Deck: "d1"})
}

func randomRule(random *rand.Rand, i int) routing.Rule {
	deck := func() string { return pickOne(random, "d0", "d1", "d2", "d3") }
	rule := routing.Rule{Name: fmt.Sprintf("r%d", i)}
	if random.IntN(2) == 0 {
		rule.Match = pickOne(random,
			&routing.Match{Path: "/p"}, &routing.Match{Methods: []string{"POST", "PUT"}}, &routing.Match{Headers: map[string]string{"x-release": "canary"}},
			&routing.Match{Cookies: map[string]string{"c": "1"}}, &routing.Match{Query: map[string]string{"q": "a b"}})
	}
	if random.IntN(4) == 0 {
		rule.Deck = deck()
		return rule
	}
	rule.Key = pickOne(random, &routing.KeySource{Header: "x-user-id"}, &routing.KeySource{Cookie: "c"}, &routing.KeySource{Query: "q"}, &routing.KeySource{Path: 1},
		&routing.KeySource{Claim: "sub"}, &routing.KeySource{ClientIP: true}, &routing.KeySource{Host: true})
	rule.Missing = pickOne(random, "", routing.MissingNext, routing.MissingReject, "d2")
	if random.IntN(2) == 0 {
		rule.Ranges = []routing.Range{{From: 0, To: 4, Deck: deck()}, {From: 10, To: 19, Deck: deck()}}
	}
	if rule.Ranges == nil || random.IntN(2) == 0 {
		rule.Split = map[string]int{"d0": random.IntN(9), "d1": 1 + random.IntN(9), "d2": random.IntN(9)}
	}
	return rule
}

func randomRequest(random *rand.Rand) (method, url string, headers []string) {
	method = pickOne(random, "GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "get", "TRACE")
	host := pickOne(random, "a.test", "A.TEST.", "x.a.test:8080", "y.x.a.test", "b.test", "x.b.test", "c.test", "c.test", "nobody.test", "a.test.", "b..test", "[::1]")
	path := pickOne(random, "/", "/p", "/p/x", "/px", "/P", "/a%2Fb", "/../p", "/%70", "/5/6", "//5", "/k%20", "/\\", "/%zz", "/a#b", "/~%7e")
	query := pickOne(random, "", "", "?q=5", "?q=a+b", "?q=a%20b", "?q=1&q=2", "?q=%zz", "?x=y&q=15", "?q", "?q=")
	for range random.IntN(4) {
		headers = append(headers, pickOne(random, "X-User-Id: 5", "x-user-id: 12", "X-User-ID:  alice ", "X-User-Id:", "X-Release: canary", "x-release: canary", "Cookie: c=1",
			"Cookie: a=b; c=7", "Cookie: c=1; c=2", "Authorization: Bearer "+token(random), "Authorization: Basic eA==", "X_User_Id: 9", "Connection: x-user-id",
			"X-Grid-Tenant: t0", "Bad Name: x", "Content-Length: 0", "Expect: nothing", "Via: 1.1 x"))
	}
	return method, "http://" + host + path + query, headers
}

func token(random *rand.Rand) string {
	encode := base64.RawURLEncoding.EncodeToString
	payload := pickOne(random, `{"sub":"alice"}`, `{"sub":5}`, `{"sub":""}`, `{"x":1}`, `{"sub":[1]}`, `nonsense`)
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(payload)) + ".sig"
}
