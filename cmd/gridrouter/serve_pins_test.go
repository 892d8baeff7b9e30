package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
)

const cachedTenantYAML = `kind: Tenant
name: acme
hosts: [acme.example]
rules: [{name: users, key: {header: x-user-id}, pins: cached, split: {one: 1}}]
---
`

func pinYAML(key, deck string) string {
	return fmt.Sprintf("kind: Pin\ntenant: acme\nkey: %q\ndeck: %s\n---\n", key, deck)
}

// askFor sends a request with a key.
func (s *served) askFor(key string) (int, string) {
	req, err := http.NewRequest(http.MethodGet, "http://"+s.data+"/", nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Host = "acme.example"
	req.Header.Set("X-User-Id", key)
	return do(req)
}

// sendsTo waits until requests with a key have an answer that begins so, and explain agrees.
func (s *served) sendsTo(t *testing.T, key, deck string) {
	t.Helper()
	testkit.Eventually(t, key+" goes to "+deck, func() bool {
		status, body := s.askFor(key)
		return status == http.StatusOK && strings.HasPrefix(body, deck+" ")
	})
	if told := s.explained(t, key); told.Deck != deck {
		t.Errorf("%s goes to %s, and explain says %+v", key, deck, told)
	}
}

func (s *served) isUnread(t *testing.T, key string) {
	t.Helper()
	if status, body := s.askFor(key); status != http.StatusServiceUnavailable || !strings.Contains(body, `"fault": "pin_unreadable"`) {
		t.Errorf("%s: got %d %s, want pin_unreadable", key, status, body)
	}
	if told := s.explained(t, key); told.Fault != routing.FaultPinUnreadable {
		t.Errorf("%s cannot be read, and explain says %+v", key, told)
	}
}

func (s *served) explained(t *testing.T, key string) (told routing.Explanation) {
	t.Helper()
	_, body := fetch(s.admin + "/explain?url=http://acme.example/&header=" + url.QueryEscape("X-User-Id: "+key))
	if err := json.Unmarshal([]byte(body), &told); err != nil {
		t.Fatalf("explain: %v: %s", err, body)
	}
	return told
}

// TestCachedPinsAreReadOnDemandAndFollowed runs a router on pins that it does not hold:
// they decide, changes of them are followed, and without etcd what was read goes on.
func TestCachedPinsAreReadOnDemandAndFollowed(t *testing.T) {
	etcd := etcdtest.Start(t)
	addr := etcd.Addr
	putDocuments(t, addr, deckYAML("one", startDeck(t, "one"))+deckYAML("two", startDeck(t, "two"))+cachedTenantYAML+
		pinYAML("10086", "two")+pinYAML("a/b %", "two")+pinYAML("unread", "two"))
	putRaw(t, addr, "pins/acme/garbled", "{")
	s := startServe(t, "--etcd", "http://"+addr, "--access-log", "off", "--pin-cache", "10")
	s.ready(t)
	s.sendsTo(t, "10086", "two")
	s.sendsTo(t, "a/b %", "two")
	s.sendsTo(t, "not pinned", "one")
	s.isUnread(t, "garbled")

	putDocuments(t, addr, pinYAML("10086", "one")+pinYAML("not pinned", "two"))
	s.sendsTo(t, "10086", "one")
	s.sendsTo(t, "not pinned", "two")
	putDocuments(t, addr, pinYAML("10086", "two")+pinYAML("garbled", "two"))
	s.sendsTo(t, "10086", "two")
	s.sendsTo(t, "garbled", "two")
	deletePin(t, addr, "a%2Fb%20%25")
	s.sendsTo(t, "a/b %", "one")

	etcd.Stop()
	s.await(t, "the source of the documents is lost: the documents in force stay, and it keeps trying")
	for range 3 {
		s.sendsTo(t, "10086", "two")
		s.isUnread(t, "unread")
		s.sendsTo(t, "never pinned", "one")
	}
	if _, metrics := fetch(s.admin + "/metrics"); !strings.Contains(metrics, "\ngridrouter_pin_cache_errors_total 6\n") {
		t.Error("the metrics do not say that six questions had no answer")
	}
	etcd.Restart(t)
	s.sendsTo(t, "unread", "two")
	putDocuments(t, addr, pinYAML("10086", "one"))
	s.sendsTo(t, "10086", "one")
}

// TestPinsInAFolderAreHeld has nobody to ask for pins, whatever a tenant says.
func TestPinsInAFolderAreHeld(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/all.yaml", deckYAML("one", startDeck(t, "one"))+deckYAML("two", startDeck(t, "two"))+cachedTenantYAML+pinYAML("10086", "two"))
	s := startServe(t, "--routes", dir, "--access-log", "off")
	s.ready(t)
	s.sendsTo(t, "10086", "two")
	s.sendsTo(t, "7", "one")
}

// TestRememberedPinsHeedEachKindOfBatch changes pins behind the router's back, and tells of it.
func TestRememberedPinsHeedEachKindOfBatch(t *testing.T) {
	addr := etcdtest.Start(t).Addr
	source := &sourceFlags{etcd: flags.Etcd{Endpoints: []string{"http://" + addr}, Prefix: flags.DefaultPrefix}}
	pins, err := openPins(source, 100, catalog.NewReader(), zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer pins.close()
	putDocuments(t, addr, pinYAML("a", "one")+pinYAML("b", "one"))
	want := func(key, deck string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if pin := pins.Pin(ctx, "acme", []byte(key)); pin.Deck != deck {
			t.Errorf("%s: got %+v, want %q", key, pin, deck)
		}
	}
	f := func(name, a, b string, heard func(revision int64) discovery.Batch, wantA, wantB string) {
		t.Helper()
		t.Log(name)
		putDocuments(t, addr, pinYAML("a", a)+pinYAML("b", b))
		batch := heard(newestDocument(t, etcdClient(t, addr)))
		pins.invalidate(&batch)
		want("a", wantA)
		want("b", wantB)
	}
	want("a", "one")
	want("b", "one")
	f("nothing", "two", "two", func(revision int64) discovery.Batch { return discovery.Batch{Revision: revision} }, "one", "one")
	f("put", "two", "two", func(revision int64) discovery.Batch {
		return discovery.Batch{Revision: revision, Put: []discovery.Entry{{Key: "tenants/b"}, {Key: "pins/acme/a"}}}
	}, "two", "one")
	f("deleted", "two", "two", func(revision int64) discovery.Batch {
		return discovery.Batch{Revision: revision, Deleted: []string{"pins/acme/b", "pins/acme/c"}}
	}, "two", "two")
	f("whole", "three", "three", func(revision int64) discovery.Batch { return discovery.Batch{Whole: true, Revision: revision} }, "three", "three")
	f("audit", "four", "four", func(revision int64) discovery.Batch {
		return discovery.Batch{Whole: true, Audit: true, Revision: revision, Put: []discovery.Entry{
			{Key: "pins/acme/a", Revision: revision - 3}, {Key: "pins/acme/b", Revision: revision}}} // as what is remembered of a
	}, "three", "four")
}

// TestNoTableIsPublishedBeforeOlderPinsAreForgotten asks for a changed pin as early as a
// request can be held to the table that goes with it.
func TestNoTableIsPublishedBeforeOlderPinsAreForgotten(t *testing.T) {
	addr := etcdtest.Start(t).Addr
	source := &sourceFlags{etcd: flags.Etcd{Endpoints: []string{"http://" + addr}, Prefix: flags.DefaultPrefix}}
	reader := catalog.NewReader()
	s := &service{log: zap.NewNop()}
	var err error
	if s.pins, err = openPins(source, 100, reader, s.log, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	defer s.pins.close()
	var seen []string
	d := &documents{
		compiler: s.newCompiler(reader), pins: s.pins, guard: newGuardWatch(s.log, prometheus.NewRegistry()), kind: "etcd", first: make(chan struct{}),
		publish: func(*routing.Table) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			seen = append(seen, s.pins.Pin(ctx, "acme", []byte("a")).Deck)
		},
	}
	for i, deck := range []string{"one", "two", "three"} {
		putDocuments(t, addr, pinYAML("a", deck))
		d.apply(discovery.Batch{Whole: i == 0, Revision: int64(i + 1), Put: []discovery.Entry{
			{Key: "pins/acme/a", Revision: int64(i + 1), Value: fmt.Appendf(nil, `{"kind":"Pin","tenant":"acme","key":"a","deck":%q}`, deck)}}})
	}
	if got := strings.Join(seen, " "); got != "one two three" {
		t.Errorf("the pins were %q when their tables were published, want those of the tables", got)
	}
}

func putRaw(t *testing.T, addr, key, value string) {
	t.Helper()
	change(t, addr, clientv3.OpPut("/gridrouter/docs/"+key, value))
}

func deletePin(t *testing.T, addr, key string) {
	t.Helper()
	change(t, addr, clientv3.OpDelete("/gridrouter/docs/pins/acme/"+key))
}

func change(t *testing.T, addr string, op clientv3.Op) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := etcdClient(t, addr).Do(ctx, op); err != nil {
		t.Fatal(err)
	}
}
