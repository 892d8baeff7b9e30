package discovery

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// testCluster is three real members. Members and clients reach each other
// through proxies, whose addresses stay while members come and go.
type testCluster struct {
	t       *testing.T
	members []*testMember
}

type testMember struct {
	name, dir      string
	peers, clients *proxy
	etcd           *etcdtest.Server // nil while it is stopped
}

func startCluster(t *testing.T) *testCluster {
	t.Helper()
	c := &testCluster{t: t}
	for n := range 3 {
		c.members = append(c.members, &testMember{name: fmt.Sprint("member", n), dir: t.TempDir(),
			peers: startProxy(t, ""), clients: startProxy(t, "")})
	}
	// Registered after the proxies, so done first: a graceful stop would wait
	// for the watches.
	t.Cleanup(func() {
		for _, m := range c.members {
			m.clients.cut()
		}
	})
	c.start(c.members...)
	return c
}

// start starts members, and waits until they are ready.
func (c *testCluster) start(members ...*testMember) {
	c.t.Helper()
	for _, m := range members {
		m.etcd = etcdtest.Launch(c.t, etcdtest.In(m.dir), func(cfg *embed.Config) {
			var initial []string
			for _, other := range c.members {
				initial = append(initial, other.name+"=http://"+other.peers.addr)
			}
			cfg.Name, cfg.InitialCluster = m.name, strings.Join(initial, ",")
			cfg.InitialClusterToken = c.members[0].dir
			cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: m.peers.addr}}
			cfg.TickMs, cfg.ElectionMs = 50, 500
		})
		m.peers.point(m.etcd.Etcd.Peers[0].Addr().String())
	}
	for _, m := range members {
		m.etcd.AwaitReady(c.t)
		m.clients.point(m.etcd.Addr)
	}
}

func (c *testCluster) stop(members ...*testMember) {
	for _, m := range members {
		m.clients.cut()
		m.peers.cut()
	}
	for _, m := range members {
		m.etcd.Stop()
		m.etcd = nil
	}
}

// leader gives the leader, and one that is not.
func (c *testCluster) leader() (leader, follower *testMember) {
	c.t.Helper()
	testkit.Eventually(c.t, "a leader", func() bool {
		leader, follower = nil, nil
		for _, m := range c.members {
			if m.etcd == nil {
				continue
			}
			if server := m.etcd.Etcd.Server; server.Leader() == server.MemberID() {
				leader = m
			} else {
				follower = m
			}
		}
		return leader != nil && follower != nil
	})
	return leader, follower
}

func (c *testCluster) dial() (*clientv3.Client, error) {
	var endpoints []string
	for _, m := range c.members {
		endpoints = append(endpoints, m.clients.addr)
	}
	return NewClient(ClientConfig{Endpoints: endpoints, DialTimeout: 2 * time.Second}, nil)
}

// write writes until a leader takes it.
func (c *testCluster) write(client *clientv3.Client, key, value string) {
	c.t.Helper()
	testkit.Eventually(c.t, "a leader that takes a write", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := client.Put(ctx, testRoot+key, value)
		return err == nil
	})
}

func TestEtcdMembersComeAndGo(t *testing.T) {
	cluster := startCluster(t)
	client, err := cluster.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	cluster.write(client, "a", "0")
	source := openTest(EtcdConfig{Dial: cluster.dial, CallTimeout: time.Second})
	r := follow(t, source)
	r.awaitEtcd(client)

	leader, follower := cluster.leader()
	cluster.stop(follower)
	cluster.write(client, "a", "one of three is gone")
	r.awaitEtcd(client)
	cluster.start(follower)

	cluster.stop(leader)
	cluster.write(client, "b", "the leader is gone")
	r.awaitEtcd(client)
	cluster.start(leader)

	cluster.stop(cluster.members...)
	testkit.Eventually(t, "a status that tells of the loss", func() bool { s := source.Status(); return !s.Connected && s.LastError != "" })
	if got := r.values(); len(got) != 2 {
		t.Errorf("with all members gone the receiver holds %v, want what it held", got)
	}
	cluster.start(cluster.members...)
	cluster.write(client, "c", "all are back")
	r.awaitEtcd(client)
	testkit.Eventually(t, "connected again", func() bool { return source.Status().Connected })
	if got := r.wholeAfterFirst(); got != 0 {
		t.Errorf("%d more lists, want the watch to go on from its cursor", got)
	}
	if got := testutil.ToFloat64(source.metrics.changes); got != 0 {
		t.Errorf("%v source changes are counted for one and the same cluster", got)
	}
}
