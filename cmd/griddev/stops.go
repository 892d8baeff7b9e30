package main

import (
	"fmt"
	"strings"

	"gridrouter.io/bench/lab"
)

// ask returns a curl line to the clients' VIP.
func (t *tour) ask(options, host, target string) string {
	return fmt.Sprintf("%s -s %s-H 'Host: %s' 'http://%s%s'", t.curl, options, host, t.grid.VIP(), target)
}

// ctl returns a gridctl line.
func (t *tour) ctl(args string) string {
	return fmt.Sprintf("%s/gridctl --etcd %s %s", t.bin, t.grid.EtcdURL(), args)
}

// lands is what the answer of a deck holds.
func lands(deck string) string { return fmt.Sprintf(`"deck": "%s"`, deck) }

func (t *tour) direct() stop {
	return stop{"A direct tenant: acme's decks are attached directly", []line{
		{
			text:   t.ask("", "shop.acme.example", "/hello"),
			note:   "The deck says who it is and what it received; X-Grid-* tell what the router decided.",
			expect: []string{lands("orders-east-1"), "X-Grid-Tenant: acme"},
		},
		{
			text:   t.ask("-H 'x-user-id: 700' ", "shop.acme.example", "/cart") + " | grep '\"deck\"'",
			note:   "The user id is the key: 500 to 999 belong to orders-east-2.",
			expect: []string{lands("orders-east-2")},
		},
	}}
}

func (t *tour) mesh() stop {
	return stop{"A mesh tenant: globex lives behind GSLB, a VIP and the mesh ingress", []line{{
		text:   t.ask("-i ", "app.globex.example", "/hello"),
		note:   "X-Ingress shows that the way led through the mesh.",
		expect: []string{"200 OK", lands("orders-west-1"), "X-Ingress: mesh-west"},
	}}}
}

func (t *tour) pinned() stop {
	return stop{"A pinned key: one account, moved by hand", []line{
		{
			text:   t.ask("", "www.initech.example", "/?account=head-office") + " | grep '\"deck\"'",
			expect: []string{lands("orders-west-2")},
		},
		{
			text:   t.ctl("get pins initech"),
			note:   "The pin that says so.",
			expect: []string{"head-office", "orders-west-2"},
		},
	}}
}

func (t *tour) split() stop {
	return stop{"A split: initech's accounts are spread over four decks, each account always on the same", []line{{
		text: "for account in 1 2 3 4 5 6 7 8 9 10; do\n  " +
			strings.ReplaceAll(t.ask("", "www.initech.example", "/?account=$account"), "'", `"`) +
			" | grep '\"deck\"'\ndone",
		expect: []string{lands("orders-east-1"), lands("orders-east-2"), lands("orders-west-1"), lands("orders-west-2")},
	}}}
}

func (t *tour) unknown() stop {
	return stop{"An unknown host: no tenant owns it", []line{{
		text:   t.ask("-i ", "nobody.example", "/"),
		expect: []string{"404 Not Found", "X-Grid-Fault: no_tenant"},
	}}}
}

func (t *tour) explain() stop {
	admin := "http://" + t.grid.Admin(1)
	return stop{"Why a request goes where it goes: ask a router, or the documents in etcd", []line{
		{
			text:   fmt.Sprintf("%s -s '%s/explain?url=http://shop.acme.example/cart&header=x-user-id:700'", t.curl, admin),
			expect: []string{"orders-east-2", "users"},
		},
		{
			text:   t.ctl("explain http://app.globex.example/hello"),
			expect: []string{"globex", "orders-west-1"},
		},
	}}
}

func (t *tour) metrics() stop {
	admin := "http://" + t.grid.Admin(1)
	return stop{"What a router holds and counts", []line{
		{
			text:   fmt.Sprintf("%s -s %s/table", t.curl, admin),
			expect: []string{`"revision"`, `"hash"`, `"source"`, "etcd"},
		},
		{
			text:   fmt.Sprintf("%s -s %s/metrics | grep '^gridrouter_requests_total'", t.curl, admin),
			expect: []string{"gridrouter_requests_total"},
		},
		{
			text:   t.ctl("fleet"),
			note:   "Which router follows which revision; routers say so every two seconds.",
			expect: []string{"r1", "r2"},
			reject: []string{"behind"},
			again:  true,
		},
	}}
}

func (t *tour) change() stop {
	move := func(from, to, why string) string {
		return t.ctl("get tenants globex -o yaml") + " \\\n  | sed 's/" + from + "/" + to + "/' \\\n  | " +
			t.ctl("apply -f - --why '"+why+"'")
	}
	return stop{"Change a policy and see it take effect: move globex to the other mesh deck, and back", []line{
		{
			text:   move("orders-west-1", "orders-west-2", "west-1 is too busy"),
			expect: []string{"globex"},
		},
		{
			text:   t.ask("", "app.globex.example", "/hello") + " | grep -E '\"deck\"|X-Grid-Epoch'",
			note:   "In effect on both routers within a tenth of a second; the tenant's epoch went up.",
			expect: []string{lands("orders-west-2"), "X-Grid-Epoch"},
			again:  true,
		},
		{
			text:   move("orders-west-2", "orders-west-1", "and back"),
			expect: []string{"globex"},
		},
	}}
}

func (t *tour) kill(self int) stop {
	ask := t.ask("-i ", "app.globex.example", "/hello") + " | grep -E '^HTTP|X-Grid-Router|\"deck\"'"
	return stop{"Kill parts, and see the rest go on", []line{
		{
			text: fmt.Sprintf("kill -9 %d", t.grid.PID(lab.Router1)),
			note: "That was router r1.",
			ends: []string{lab.Router1},
		},
		{
			text:   ask,
			note:   "r2 answers: the LVS stand-in tries the next router, and then leaves r1 alone.",
			expect: []string{"200 OK", "X-Grid-Router: r2", lands("orders-west-1")},
			again:  true, // a dying process may take one more connection with it
		},
		{
			text: fmt.Sprintf("kill -9 %d %d", t.grid.PID(lab.Etcd), t.grid.PID(lab.GSLB)),
			note: "That was etcd, and GSLB with it.",
			ends: []string{lab.Etcd, lab.GSLB},
		},
		{
			text:   ask,
			note:   "r2 goes on with the table and the addresses that it holds.",
			expect: []string{"200 OK", lands("orders-west-1")},
		},
		{
			text: fmt.Sprintf("kill -USR1 %d", self),
			note: "griddev starts again what has ended; its own terminal says when that is done.",
		},
		{
			text:   t.ctl("get tenants"),
			note:   "Nothing was lost.",
			expect: []string{"acme", "globex", "initech", "payments"},
			again:  true,
		},
		{
			text:   fmt.Sprintf("%s -s http://%s/table | grep -E 'revision|source\"'", t.curl, t.grid.Admin(1)),
			note:   "And r1 is back, with the same table as r2.",
			expect: []string{`"revision"`, "etcd"},
			again:  true,
		},
	}}
}
