package etcdtest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"gridrouter.io/bench/testkit"
)

// Cluster is members of one cluster, in the process of the test. They share the process's metrics, so that
// what a member counts of itself is what all of them count.
type Cluster struct {
	Members []*Server

	configure []func(*embed.Config)
	token     string
	initial   []string // name=peer URL of each
}

// StartCluster starts a cluster of so many members, waits until all serve, and stops them with the test. All
// are configured alike. A member that is stopped and restarted comes back as the one it was.
func StartCluster(t testing.TB, members int, configure ...func(*embed.Config)) *Cluster {
	t.Helper()
	peers, relays := make([]string, members), make([]string, members)
	c := &Cluster{configure: configure}
	for i := range members {
		peers[i], relays[i] = c.address(t)
	}
	c.token = peers[0]
	for i := range members {
		c.launch(t, i, peers[i], relays[i], embed.ClusterStateFlagNew)
	}
	for _, m := range c.Members {
		m.AwaitReady(t)
	}
	return c
}

// address makes the addresses of the next member's peer URLs: where it listens, and where others reach it.
func (c *Cluster) address(t testing.TB) (listen, reach string) {
	listen = testkit.FreeAddr(t)
	reach = startRelay(t, listen)
	c.initial = append(c.initial, fmt.Sprintf("member%d=http://%s", len(c.initial), reach))
	return listen, reach
}

func (c *Cluster) launch(t testing.TB, i int, listen, reach, state string) {
	initial := strings.Join(c.initial, ",")
	c.Members = append(c.Members, Launch(t, append([]func(*embed.Config){func(cfg *embed.Config) {
		cfg.Name, cfg.InitialCluster, cfg.InitialClusterToken, cfg.ClusterState = fmt.Sprint("member", i), initial, c.token, state
		cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: listen}}
		cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: reach}}
		cfg.TickMs, cfg.ElectionMs = 50, 500
	}}, c.configure...)...))
}

// AddLearner starts a member that learns. The client adds it to the list, which waits until etcd takes it.
func (c *Cluster) AddLearner(t testing.TB, client *clientv3.Client) *Server {
	t.Helper()
	listen, reach := c.address(t)
	testkit.Eventually(t, "the cluster has been healthy for long enough to take a learner", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		_, err := client.MemberAddAsLearner(ctx, []string{"http://" + reach})
		return err == nil
	})
	c.launch(t, len(c.Members), listen, reach, embed.ClusterStateFlagExisting)
	learner := c.Members[len(c.Members)-1]
	learner.AwaitReady(t)
	return learner
}

// Endpoints are the members' client URLs.
func (c *Cluster) Endpoints() []string {
	out := make([]string, len(c.Members))
	for i, m := range c.Members {
		out[i] = m.URL
	}
	return out
}

// Leader waits until a member that runs leads, and returns it with one that runs and follows; nil if there is
// none.
func (c *Cluster) Leader(t testing.TB) (leader, follower *Server) {
	t.Helper()
	testkit.Eventually(t, "a leader", func() bool {
		leader, follower = nil, nil
		for _, m := range c.Members {
			switch {
			case m.stopped:
			case m.Etcd.Server.Leader() == m.Etcd.Server.MemberID():
				leader = m
			default:
				follower = m
			}
		}
		return leader != nil
	})
	return leader, follower
}
