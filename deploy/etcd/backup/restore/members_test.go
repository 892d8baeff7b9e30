package restore_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"

	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/backup/restore"
)

// relay passes connections of peers on, so that they can be cut: etcd leaves those open that it made to peers.
type relay struct {
	listener net.Listener
	work     sync.WaitGroup
	mu       sync.Mutex
	to       string
	open     map[net.Conn]bool // nil: it is cut
}

func startRelay(t *testing.T) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, open: map[net.Conn]bool{}}
	r.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() { r.pass(conn) })
		}
	})
	return r
}

func (r *relay) url() url.URL { return url.URL{Scheme: "http", Host: r.listener.Addr().String()} }

// keep says whether a connection may be open, and closes it if not.
func (r *relay) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		_ = conn.Close()
		return false
	}
	r.open[conn] = true
	return true
}

func (r *relay) pass(from net.Conn) {
	defer from.Close()
	r.mu.Lock()
	at := r.to
	r.mu.Unlock()
	to, err := net.Dial("tcp", at)
	if err != nil {
		return
	}
	defer to.Close()
	if !r.keep(from) || !r.keep(to) {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}()
	_, _ = io.Copy(to, from)
	_ = to.Close()
	<-back
}

func (r *relay) point(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
}

// cut closes all connections and takes no new ones.
func (r *relay) cut() {
	_ = r.listener.Close()
	r.mu.Lock()
	for conn := range r.open {
		_ = conn.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.work.Wait()
}

func TestAClusterOfThreeMembersStartsFromOneBackup(t *testing.T) {
	c, s := startCluster(t), folder(t)
	c.change(t, 1)
	f := follow(t, quick(c.config(t, s)))
	f.reaches(t, c.change(t, 2))
	f.mustEnd(t)
	want := pairs(t, c.Client, 0)
	initial, peers := "", map[string]*relay{}
	for _, name := range []string{"a", "b", "c"} {
		peers[name] = startRelay(t)
		at := peers[name].url()
		initial += "," + name + "=" + at.String()
	}
	initial = initial[1:]
	var members []*etcdtest.Server
	for name, peer := range peers {
		o := restore.Options{Store: s, Dir: t.TempDir(), Name: name, InitialCluster: initial, Token: "three"}
		if _, err := restore.Restore(patient(t), o); err != nil {
			t.Fatal(err)
		}
		one := etcdtest.Launch(t, etcdtest.In(o.Dir), func(cfg *embed.Config) {
			cfg.Name, cfg.InitialCluster, cfg.InitialClusterToken = name, initial, "three"
			cfg.AdvertisePeerUrls = []url.URL{peer.url()}
			cfg.TickMs, cfg.ElectionMs = 50, 500
		})
		peer.point(one.Etcd.Peers[0].Addr().String())
		members = append(members, one)
	}
	t.Cleanup(func() { // before they are stopped
		for _, peer := range peers {
			peer.cut()
		}
	})
	for _, one := range members {
		one.AwaitReady(t)
		if diff := cmp.Diff(want, pairs(t, connectTo(t, one.URL), 0)); diff != "" {
			t.Error(diff)
		}
	}
}
