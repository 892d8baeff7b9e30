package lab_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"gridrouter.io/router/admission"
)

// policies makes random tenants, and random requests that have a fair chance to meet
// their rules, the borders of these, and what is refused.
type policies struct{ *rand.Rand }

// pick returns one of the choices.
func pick[T any](p policies, choices ...T) T { return choices[p.IntN(len(choices))] }

// tenants returns n tenants as YAML documents, with pins, over the four decks of a grid.
func (p policies) tenants(n int) string {
	var out strings.Builder
	for i := range n {
		name := fmt.Sprintf("tenant-%d", i)
		fmt.Fprintf(&out, "---\nkind: Tenant\nname: %s\nhosts: [%s.example, \"*.%s.example\"]\nrules:\n", name, name, name)
		key, pinned := p.key(), p.IntN(2) == 0
		for rule := range 1 + p.IntN(6) {
			out.WriteString(p.rule(rule, key, pinned))
		}
		if pinned {
			out.WriteString("  - {name: pinned, key: " + key + ", pins: true, missing: next}\n")
			for _, value := range []string{"7", "a b", "10086"} {
				fmt.Fprintf(&out, "---\nkind: Pin\ntenant: %s\nkey: %q\ndeck: %s\n", name, value, p.deck())
			}
		}
	}
	return out.String()
}

func (p policies) deck() string {
	return pick(p, "orders-east-1", "orders-east-2", "orders-west-1", "orders-west-2")
}

func (p policies) key() string {
	return pick(p, "{header: x-user-id}", "{cookie: uid}", "{query: u}", "{path: 2}", "{claim: sub}", "{clientIP: true}", "{host: true}")
}

func (p policies) rule(n int, key string, pinned bool) string {
	rule := fmt.Sprintf("  - name: rule-%d\n", n)
	if p.IntN(3) > 0 {
		rule += "    match: {" + p.match() + "}\n"
	}
	if p.IntN(4) == 0 {
		return rule + "    deck: " + p.deck() + "\n"
	}
	if p.IntN(2) == 0 {
		key, pinned = p.key(), false
	}
	rule += "    key: " + key + "\n"
	if pinned && p.IntN(2) == 0 {
		rule += "    pins: true\n"
	}
	if p.IntN(2) == 0 {
		rule += fmt.Sprintf("    ranges: [{from: 0, to: %d, deck: %s}, {from: 5000, to: 499999, deck: %s}]\n", p.IntN(5000), p.deck(), p.deck())
	}
	if p.IntN(3) > 0 || !strings.Contains(rule, "ranges") && !strings.Contains(rule, "pins") {
		rule += fmt.Sprintf("    split: {orders-east-1: %d, orders-west-2: %d, orders-east-2: 1}\n", p.IntN(100), p.IntN(100))
	}
	return rule + "    missing: " + pick(p, "next", "next", "reject", p.deck()) + "\n"
}

func (p policies) match() string {
	return pick(p,
		"path: /admin", "path: /users", "path: /a%20b", "methods: [GET, POST]", "methods: [DELETE]", "headers: {x-release: canary}",
		"cookies: {beta: \"1\"}", "query: {mode: \"x y\"}", "path: /users, headers: {x-release: canary}", "headers: {x-release: canary, x-other: \"\"}")
}

// question returns a random request to one of n tenants, or to nobody.
func (p policies) question(n int) admission.Question {
	host := fmt.Sprintf("tenant-%d.example", p.IntN(n))
	host = pick(p, host, host, host, host, host, host, host, host, host, host, "www."+host, "a.b."+host, strings.ToUpper(host), host+".", host+":8080", "nobody.example",
		"x"+host, host+"..", "user@"+host, host+",other.example", "*."+host, "[::1]", "-"+host)
	q := admission.Question{
		Method:   pick(p, "GET", "GET", "GET", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"),
		URL:      "http://" + host + p.path() + p.query(),
		ClientIP: "127.0.0.1",
	}
	for range p.IntN(4) {
		q.Headers = append(q.Headers, p.header())
	}
	return q
}

func (p policies) path() string {
	return pick(p, "/", "/", "/admin", "/admin/x", "/administer", "/users/"+p.value(), "/users/7/cart", "/Users/7", "/users/../admin", "/users/%37",
		"/x/./users/8", "/%61dmin", "/a%20b/c", "/users/a%2Fb", "/users/%2e%2e/admin", "/users//7", "/users/a\\b", "/users/%00", "/users/%2541", "")
}

func (p policies) query() string {
	return pick(p, "", "", "", "?", "?u="+p.value(), "?a=b&u="+p.value()+"&c", "?%75=7", "?u=1&u=2", "?u=", "?u", "?mode=x%20y", "?mode=x+y&u=5", "?u=%4", "?u=%2541", "?mode=%zz")
}

// value returns a key that needs no escaping anywhere.
func (p policies) value() string {
	return pick(p, "7", "8", "10086", "0", "007", "4999", "5000", "499999", "500000", "9223372036854775807", "9223372036854775808",
		"abc", "x.y~z", strings.Repeat("k", 512), strings.Repeat("k", 513), fmt.Sprint(p.IntN(1_000_000)))
}

func (p policies) header() string {
	claim := pick(p, `{"sub":"`+p.value()+`"}`, `{"sub":7}`, `{"sub":7.5}`, `{"sub":"a","sub":"a"}`, `{"x":{"sub":1}}`, `{`)
	return pick(p,
		"x-user-id: "+p.value(), "x-user-id: "+p.value(), "x-user-id: "+p.value(), "Cookie: uid="+p.value(), "Cookie: uid="+p.value(), "X-Release: canary",
		"Authorization: Bearer e30."+base64.RawURLEncoding.EncodeToString([]byte(claim))+".c2ln", "Accept: */*", "User-Agent: x", "x-user-id: "+p.value(), "X-User-Id:"+p.value()+" ", "x-user-id: a b", "x-user-id:", "X-Release: canary", "x-release: Canary", "x-other:",
		"Cookie: uid="+p.value()+"; beta=1", "Cookie: beta=1", "Cookie: uid=1; uid=2", "Cookie: a", "X-Grid-Deck: orders-east-1",
		"Authorization: Bearer e30."+base64.RawURLEncoding.EncodeToString([]byte(claim))+".c2ln", "Authorization: Basic x",
		"x user: 1", "x-user-id : 1", "x_user_id: 1", "Connection: x-user-id", "Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1",
		"Expect: 200-ok", "Upgrade: websocket", "Accept: */*")
}
