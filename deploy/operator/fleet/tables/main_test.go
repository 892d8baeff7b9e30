package tables

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery/catalog"
)

const prefix = "/gridrouter/"

// etcdIn is the variable that makes this test binary an etcd with its data there, which a test can freeze.
const etcdIn = "GRIDROUTER_TABLES_ETCD_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(etcdIn); dir != "" {
		server, err := etcdtest.Open(dir)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(server.URL)
		_, _ = os.Stdin.Read(make([]byte, 1)) // until its parent ends
		server.Stop()
		return
	}
	goleak.VerifyTestMain(m)
}

// quick are times for tests: looks come often, and a call may take as long as a busy machine needs.
var quick = Options{Every: 20 * time.Millisecond, Timeout: 10 * time.Second, LagAfter: 200 * time.Millisecond}

func newPool(t *testing.T, options Options) *Pool {
	t.Helper()
	p := NewPool(nil, options)
	t.Cleanup(p.Close)
	return p
}

func connect(t *testing.T, url string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func put(t *testing.T, client *clientv3.Client, key, value string, options ...clientv3.OpOption) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	if _, err := client.Put(ctx, key, value, options...); err != nil {
		t.Fatal(err)
	}
}

func statusOf(id string, revision int64, hash string) string {
	text, err := json.Marshal(catalog.Status{ID: id, Version: "1.4.0", Revision: revision, Hash: hash})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// announce writes a router's status key.
func announce(t *testing.T, client *clientv3.Client, id string, revision int64, hash string) {
	t.Helper()
	put(t, client, prefix+"fleet/"+id, statusOf(id, revision, hash))
}

// eventually waits for a report of a fleet.
func eventually(t *testing.T, p *Pool, id, what string, holds func(Report) bool) Report {
	t.Helper()
	var last Report
	defer func() {
		if t.Failed() {
			t.Logf("the last report: %+v", last)
		}
	}()
	testkit.Eventually(t, what, func() bool {
		r, looked := p.Latest(id)
		last = r
		return looked && holds(r)
	})
	return last
}
