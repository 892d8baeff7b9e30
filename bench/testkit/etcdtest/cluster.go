package etcdtest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"

	"gridrouter.io/bench/testkit"
)

// Cluster is members of one cluster, in the process of the test. They share the process's metrics, so that
// what a member counts of itself is what all of them count.
type Cluster struct{ Members []*Server }

// StartCluster starts a cluster of so many members, waits until all serve, and stops them with the test. All
// are configured alike. A member that is stopped and restarted comes back as the one it was.
func StartCluster(t testing.TB, members int, configure ...func(*embed.Config)) *Cluster {
	t.Helper()
	peers, relays, initial := make([]string, members), make([]string, members), make([]string, members)
	for i := range members {
		peers[i] = testkit.FreeAddr(t)
		relays[i] = startRelay(t, peers[i])
		initial[i] = fmt.Sprintf("member%d=http://%s", i, relays[i])
	}
	c := &Cluster{}
	for i := range members {
		c.Members = append(c.Members, Launch(t, append([]func(*embed.Config){func(cfg *embed.Config) {
			cfg.Name, cfg.InitialCluster = fmt.Sprint("member", i), strings.Join(initial, ",")
			cfg.InitialClusterToken = peers[0]
			cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: peers[i]}}
			cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: relays[i]}}
			cfg.TickMs, cfg.ElectionMs = 50, 500
		}}, configure...)...))
	}
	for _, m := range c.Members {
		m.AwaitReady(t)
	}
	return c
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
