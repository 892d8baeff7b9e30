package maintain_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/operator/etcd/maintain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const quota = 16 << 20

func withQuota(cfg *embed.Config) { cfg.QuotaBackendBytes = quota }

// clock is a time that tests set.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.Load(), 0) }

func newKeeper(t *testing.T) (*maintain.Keeper, *clock) {
	t.Helper()
	c := &clock{}
	c.Store(1_700_000_000)
	k := maintain.NewKeeper(c.now)
	t.Cleanup(k.Close)
	return k, c
}

func accessTo(servers ...*etcdtest.Server) inspect.Access {
	var a inspect.Access
	for _, s := range servers {
		a.Endpoints = append(a.Endpoints, s.URL)
	}
	return a
}

func connect(t *testing.T, access inspect.Access) (context.Context, *clientv3.Client) {
	t.Helper()
	client, err := access.Connect(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 6*testkit.Patience)
	t.Cleanup(cancel)
	return ctx, client
}

// silent is an address that takes connections and never says a word.
func silent(t *testing.T) inspect.Access {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return inspect.Access{Endpoints: []string{"http://" + l.Addr().String()}}
}

// do does a job to its end.
func do(t *testing.T, k *maintain.Keeper, id string, job maintain.Job) maintain.Outcome {
	t.Helper()
	outcomes, ended := make(chan maintain.Outcome, 1), make(chan struct{})
	job.Done, job.Ended = func(o maintain.Outcome) { outcomes <- o }, func() { close(ended) }
	if !k.Begin(id, job) {
		t.Fatalf("%s was not begun: %+v", job.Act, k.State(id))
	}
	<-ended
	select {
	case o := <-outcomes:
		return o
	default:
		t.Fatalf("%s was stopped", job.Act)
		return maintain.Outcome{}
	}
}

func TestAFullClusterTakesWritesAgain(t *testing.T) {
	k, now := newKeeper(t)
	cluster := etcdtest.StartCluster(t, 3, withQuota)
	access := accessTo(cluster.Members...)
	ctx, client := connect(t, access)
	value := strings.Repeat("v", 256<<10)
	for {
		if _, err := client.Put(ctx, "/churn", value); errors.Is(err, rpctypes.ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	o := do(t, k, "a", maintain.Job{Act: maintain.Relieve, Access: access, Keep: 5})
	if !o.Needed || o.Problem != "" || o.FreedBytes < quota || o.UsedBytes == 0 || o.QuotaBytes != quota || !o.At.Equal(now.now()) || o.Act != maintain.Relieve {
		t.Fatalf("%+v", o)
	}
	if s := k.State("a"); s.Doing != "" || s.Relieved != o || !s.RelieveAfter.After(now.now()) {
		t.Errorf("%+v", s)
	}
	if _, err := client.Put(ctx, "/churn", value); err != nil {
		t.Error(err)
	}
	now.Add(60)
	if o := do(t, k, "a", maintain.Job{Act: maintain.Relieve, Access: access}); o.Needed || o.Problem != "" || o.FreedBytes != 0 {
		t.Errorf("once more: %+v", o)
	}
}

func TestMembersGiveBackWhatIsFree(t *testing.T) {
	k, _ := newKeeper(t)
	server := etcdtest.Start(t)
	ctx, client := connect(t, accessTo(server))
	value := strings.Repeat("v", 256<<10)
	for range 32 {
		if _, err := client.Put(ctx, "/churn", value); err != nil {
			t.Fatal(err)
		}
	}
	now, err := client.Get(ctx, "/churn", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "what was freed is counted", func() bool {
		if _, err := client.Put(ctx, "/commit", "v"); err != nil {
			t.Fatal(err)
		}
		members, err := inspect.Members(ctx, accessTo(server))
		return err == nil && members[0].FreeBytes() > 4<<20
	})
	job := maintain.Job{Act: maintain.Defragment, Access: accessTo(server), FreeAbove: 1 << 30}
	if o := do(t, k, "a", job); o.Needed || o.FreedBytes != 0 || o.Problem != "" {
		t.Errorf("with less free than asked for: %+v", o)
	}
	job.FreeAbove = 4 << 20
	if o := do(t, k, "a", job); !o.Needed || o.FreedBytes < 4<<20 || o.Problem != "" || k.State("a").Defragmented != o {
		t.Errorf("%+v", o)
	}
}

func TestAReliefThatDidNotHelpIsTriedAgainAfterAWhile(t *testing.T) {
	k, now := newKeeper(t)
	nowhere := inspect.Access{Endpoints: []string{"http://" + testkit.FreeAddr(t)}}
	job := maintain.Job{Act: maintain.Relieve, Access: nowhere}
	o := do(t, k, "a", job)
	if o.Problem == "" || o.Needed {
		t.Errorf("%+v", o)
	}
	if after := k.State("a").RelieveAfter.Sub(now.now()); after != 5*time.Minute {
		t.Errorf("it is tried again after %s", after)
	}
	now.Add(299)
	if k.Begin("a", job) {
		t.Error("it is tried again before its time")
	}
	now.Add(1)
	if o := do(t, k, "a", job); o.Problem == "" {
		t.Errorf("%+v", o)
	}
	k.Forget("a")
	if s := k.State("a"); s != (maintain.State{}) {
		t.Errorf("it is not forgotten: %+v", s)
	}
}

func TestWhatIsStoppedLeavesNoOutcome(t *testing.T) {
	k, _ := newKeeper(t)
	ended := make(chan struct{})
	job := maintain.Job{
		Act: maintain.Relieve, Access: silent(t), Ended: func() { close(ended) },
		Done: func(o maintain.Outcome) { t.Errorf("an outcome is told: %+v", o) },
	}
	if !k.Begin("a", job) || k.State("a").Doing != maintain.Relieve {
		t.Fatal("it is not begun")
	}
	if k.Begin("a", job) {
		t.Error("a second act is begun beside the first")
	}
	k.Stop("a")
	<-ended
	if s := k.State("a"); s != (maintain.State{}) {
		t.Errorf("%+v", s)
	}
	k.Stop("a")
	k.Stop("unknown")
}

func TestFewClustersAreMaintainedAtOnceAndAllGetTheirTurn(t *testing.T) {
	k, _ := newKeeper(t)
	server := etcdtest.Start(t)
	blocked := []string{"a", "b", "c", "d"}
	for _, id := range blocked {
		if !k.Begin(id, maintain.Job{Act: maintain.Defragment, Access: silent(t)}) { // a minute, until health is given up
			t.Fatal("it is not begun")
		}
	}
	outcomes := make(chan maintain.Outcome, 1)
	job := maintain.Job{Act: maintain.Defragment, Access: accessTo(server), Done: func(o maintain.Outcome) { outcomes <- o }}
	if !k.Begin("e", job) || k.State("e").Doing != maintain.Defragment {
		t.Fatal("it does not wait for its turn")
	}
	for _, id := range blocked {
		k.Stop(id)
	}
	select {
	case o := <-outcomes:
		if o.Problem != "" {
			t.Errorf("%+v", o)
		}
	case <-time.After(testkit.Patience):
		t.Error("it never had its turn")
	}
}

func TestNothingIsDoneAfterTheLeadershipWasLost(t *testing.T) {
	k, _ := newKeeper(t)
	ctx, lose := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- k.Start(ctx) }()
	job := maintain.Job{Act: maintain.Defragment, Access: silent(t)}
	if !k.Begin("a", job) {
		t.Fatal("it is not begun")
	}
	lose()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if s := k.State("a"); s != (maintain.State{}) || k.Begin("b", job) {
		t.Errorf("%+v", s)
	}
}

func TestAnUnknownActIsAProblem(t *testing.T) {
	k, _ := newKeeper(t)
	if o := do(t, k, "a", maintain.Job{Act: "Paint"}); !strings.Contains(o.Problem, `"Paint"`) {
		t.Errorf("%+v", o)
	}
}
