package etcdtest_test

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T, s *etcdtest.Server) (context.Context, *clientv3.Client) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.URL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	t.Cleanup(cancel)
	return ctx, client
}

func TestARestartKeepsDataAndAddress(t *testing.T) {
	s := etcdtest.Start(t)
	ctx, client := connect(t, s)
	written, err := client.Put(ctx, "a", "1")
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := s.Addr, s.Dir
	s.Stop()
	s.Stop()
	for range 2 { // once it was stopped, once it runs
		s.Restart(t)
		read, err := client.Get(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		if len(read.Kvs) != 1 || read.Header.ClusterId != written.Header.ClusterId || s.Addr != addr || s.Dir != dir {
			t.Fatalf("after a restart at %s (it was %s): %v", s.Addr, addr, read)
		}
	}
	_, other := connect(t, etcdtest.Start(t))
	if read, err := other.Get(ctx, "a"); err != nil || len(read.Kvs) != 0 || read.Header.ClusterId == written.Header.ClusterId {
		t.Errorf("another etcd says %v, %v", read, err)
	}
}

func TestOneWithoutATest(t *testing.T) {
	addr, dir := testkit.FreeAddr(t), t.TempDir()
	s := etcdtest.Start(t, etcdtest.In(dir), etcdtest.At(addr))
	if s.Addr != addr || s.Dir != dir || s.URL != "http://"+addr {
		t.Errorf("it is at %s with %s", s.URL, s.Dir)
	}
	s.Stop()
	s, err := etcdtest.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	ctx, client := connect(t, s)
	if _, err := client.Get(ctx, "a"); err != nil {
		t.Error(err)
	}
}

func TestAClusterGoesOnWithoutOneOfThree(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	leader, follower := cluster.Leader(t)
	ctx, client := connect(t, follower)
	if _, err := client.Put(ctx, "a", "1"); err != nil {
		t.Fatal(err)
	}
	leader.Stop()
	testkit.Eventually(t, "another leader", func() bool {
		now, _ := cluster.Leader(t)
		return now != leader
	})
	if read, err := client.Get(ctx, "a"); err != nil || len(read.Kvs) != 1 {
		t.Errorf("%v, %v", read, err)
	}
	leader.Restart(t)
	if list, err := client.MemberList(ctx); err != nil || len(list.Members) != 3 || len(cluster.Endpoints()) != 3 {
		t.Errorf("%v, %v", list, err)
	}
}
