package upkeep_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	"gridrouter.io/deploy/etcd/inspect/brief"
	"gridrouter.io/deploy/etcd/inspect/upkeep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const quota = 16 << 20

func withQuota(cfg *embed.Config) { cfg.QuotaBackendBytes = quota }

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

// churn writes one key again and again, until so many bytes were written.
func churn(ctx context.Context, t *testing.T, client *clientv3.Client, bytes int) {
	t.Helper()
	value := strings.Repeat("v", 256<<10)
	for written := 0; written < bytes; written += len(value) {
		if _, err := client.Put(ctx, "/churn", value); err != nil {
			t.Fatal(err)
		}
	}
}

func small(t *testing.T, result any) {
	t.Helper()
	text, err := json.Marshal(result)
	if err != nil || len(text) > brief.MostBytes {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func visited(d upkeep.Defragmentation) (out []string) {
	for _, m := range d.Members {
		out = append(out, m.Endpoint)
	}
	return out
}

func TestMembersAreDefragmentedOneByOneTheLeaderLast(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	ctx, client := connect(t, access)
	churn(ctx, t, client, 8<<20)
	if c, err := upkeep.Compact(ctx, access, upkeep.CompactOptions{Keep: 1}); err != nil || c.Revision == 0 || c.Already {
		t.Fatalf("%+v, %v", c, err)
	}
	testkit.Eventually(t, "what was freed is counted, two commits later", func() bool {
		if _, err := client.Put(ctx, "/commit", "v"); err != nil {
			t.Fatal(err)
		}
		members, err := inspect.Members(ctx, access)
		return err == nil && !slices.ContainsFunc(members, func(m inspect.Member) bool { return m.FreeBytes() < 4<<20 })
	})
	d, err := upkeep.Defragment(ctx, access, upkeep.DefragmentOptions{})
	if err != nil || !d.Done || len(d.Members) != 3 || d.FreedBytes < 3*(4<<20) {
		t.Fatalf("%+v, %v", d, err)
	}
	small(t, d)
	for i, m := range d.Members {
		if m.PassedOver != "" || m.AfterBytes >= m.BeforeBytes || m.Milliseconds == 0 || m.Leads && i != 2 {
			t.Errorf("%+v", m)
		}
	}
	again, err := upkeep.Defragment(ctx, access, upkeep.DefragmentOptions{})
	if err != nil || !again.Done || again.FreedBytes != 0 || again.Members[0].PassedOver == "" || again.Members[2].PassedOver == "" {
		t.Errorf("once more: %+v, %v", again, err)
	}
	for again := range 2 {
		if c, err := upkeep.Compact(ctx, access, upkeep.CompactOptions{Keep: 1}); err != nil || c.Already != (again == 1) {
			t.Errorf("once more: %+v, %v", c, err)
		}
	}
	if c, err := upkeep.Compact(ctx, access, upkeep.CompactOptions{}); err != nil || c.Revision != 0 {
		t.Errorf("with more kept than there is: %+v, %v", c, err)
	}
}

func TestALearnerIsPassedOver(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 1)
	_, client := connect(t, accessTo(cluster.Members...))
	learner := cluster.AddLearner(t, client)
	access := accessTo(learner, cluster.Members[0])
	ctx, _ := connect(t, access)
	churn(ctx, t, client, 4<<20)
	for range 2 { // a client that chose the learner would be refused
		if _, err := upkeep.Compact(ctx, access, upkeep.CompactOptions{Keep: 1}); err != nil {
			t.Error(err)
		}
		if r, err := upkeep.RelieveNoSpace(ctx, access, upkeep.RelieveOptions{}); err != nil || r.Needed {
			t.Errorf("%+v, %v", r, err)
		}
	}
	d, err := upkeep.Defragment(ctx, access, upkeep.DefragmentOptions{FreeAbove: 1})
	if err != nil || !d.Done || d.Members[0].Endpoint != learner.URL || !strings.Contains(d.Members[0].PassedOver, "learner") {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestNobodyIsDefragmentedUnlessAllAreHealthy(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	ctx, client := connect(t, access)
	churn(ctx, t, client, 4<<20)
	f := func(access inspect.Access, want string) {
		t.Helper()
		d, err := upkeep.Defragment(ctx, access, upkeep.DefragmentOptions{Settle: 2 * time.Second})
		if err == nil || !strings.Contains(err.Error(), want) || len(d.Members) != 0 || d.Done {
			t.Errorf("%+v, %v; want %s", d, err, want)
		}
	}
	f(accessTo(cluster.Members[:2]...), "is not among the endpoints: name all members")
	_, follower := cluster.Leader(t)
	follower.Stop()
	f(access, "is not healthy again within 2s")
	follower.Restart(t)
	if d, err := upkeep.Defragment(ctx, access, upkeep.DefragmentOptions{FreeAbove: 1 << 40}); err != nil || !d.Done || len(visited(d)) != 3 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestAClusterWithoutSpaceIsRelievedWhileAWriterGoesOn fills the quota by a writer that never ceases, and looks
// whether its writes are taken again.
func TestAClusterWithoutSpaceIsRelievedWhileAWriterGoesOn(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3, withQuota)
	access := accessTo(cluster.Members...)
	ctx, client := connect(t, access)
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var taken, refused atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		value := strings.Repeat("v", 256<<10)
		for writing.Err() == nil {
			switch _, err := client.Put(writing, "/churn", value); {
			case err == nil:
				taken.Add(1)
			case errors.Is(err, rpctypes.ErrNoSpace):
				refused.Add(1)
			}
			select { // writers are not as fast as they can be
			case <-writing.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	testkit.Eventually(t, "the writer is refused", func() bool { return refused.Load() > 0 })
	full := expect(ctx, t, access, inspect.NoSpace)
	t.Log(full.Message)
	before := taken.Load()
	began := time.Now()
	r, err := upkeep.RelieveNoSpace(ctx, access, upkeep.RelieveOptions{Compact: upkeep.CompactOptions{Keep: 5}})
	if err != nil || !r.Needed || !r.Disarmed || r.AfterBytes >= r.BeforeBytes/2 || r.QuotaBytes != quota || len(r.Compactions) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	small(t, r)
	t.Logf("relieved in %s: from %d to %d bytes, %d freed; %d writes were refused", time.Since(began), r.BeforeBytes, r.AfterBytes, r.Defragmentation.FreedBytes, refused.Load())
	testkit.Eventually(t, "the writer goes on", func() bool { return taken.Load() > before+3 })
	stop()
	<-done
	if again, err := upkeep.RelieveNoSpace(ctx, accessTo(etcdtest.Start(t)), upkeep.RelieveOptions{}); err != nil || again.Needed || len(again.Compactions) != 0 {
		t.Errorf("of a cluster that has space: %+v, %v", again, err)
	}
}

func expect(ctx context.Context, t *testing.T, access inspect.Access, reason inspect.Reason) inspect.Finding {
	t.Helper()
	report, err := inspect.Configuration(ctx, access, inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(report.Findings, func(f inspect.Finding) bool { return f.Reason == reason })
	if i < 0 {
		t.Fatalf("no %s: %+v", reason, report.Findings)
	}
	return report.Findings[i]
}

func TestWhatIsInUseIsNotRelieved(t *testing.T) {
	server := etcdtest.Start(t, withQuota)
	access := accessTo(server)
	ctx, client := connect(t, access)
	value := strings.Repeat("v", 256<<10)
	for i := 0; ; i++ {
		if _, err := client.Put(ctx, fmt.Sprintf("/key/%d", i), value); errors.Is(err, rpctypes.ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	p, err := inspect.Probe(ctx, access, inspect.ProbeOptions{Prefix: "/probe/", Timeout: testkit.Patience})
	if err != nil || p.Works || !strings.Contains(p.Probed[0].Timings[0].Error, "database space exceeded") || p.Probed[0].Timings[4].Done == 0 {
		t.Errorf("a probe of what takes no writes: %+v, %v", p, err)
	}
	// Half of the quota is in use: with less than that allowed, there is nothing to relieve it by.
	options := upkeep.RelieveOptions{Compact: upkeep.CompactOptions{Keep: 10}, UsedPercent: 40}
	r, err := upkeep.RelieveNoSpace(ctx, access, options)
	if err == nil || !strings.Contains(err.Error(), "prune keys that nobody needs") || !r.Needed || r.Disarmed || len(r.Compactions) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if alarms, err := client.AlarmList(ctx); err != nil || len(alarms.Alarms) != 1 {
		t.Fatalf("%v, %v", alarms, err)
	}
	// What was pruned makes room, and the same call goes on with the rest.
	if _, err := client.Delete(ctx, "/key/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if r, err = upkeep.RelieveNoSpace(ctx, access, options); err != nil || !r.Disarmed {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := client.Put(ctx, "/key/0", value); err != nil {
		t.Error(err)
	}
}

// TestReliefGoesOnWhereItWasInterrupted does by hand what another one did before it ended.
func TestReliefGoesOnWhereItWasInterrupted(t *testing.T) {
	server := etcdtest.Start(t, withQuota)
	access := accessTo(server)
	ctx, client := connect(t, access)
	value := strings.Repeat("v", 256<<10)
	for {
		if _, err := client.Put(ctx, "/churn", value); errors.Is(err, rpctypes.ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := upkeep.Compact(ctx, access, upkeep.CompactOptions{Keep: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Defragment(ctx, server.URL); err != nil {
		t.Fatal(err)
	}
	r, err := upkeep.RelieveNoSpace(ctx, access, upkeep.RelieveOptions{})
	if err != nil || !r.Needed || !r.Disarmed || len(r.Compactions) != 0 || len(r.Defragmentation.Members) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := client.Put(ctx, "/churn", value); err != nil {
		t.Error(err)
	}
}

func TestAnInterruptedDefragmentationGoesOn(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	ctx, client := connect(t, access)
	churn(ctx, t, client, 6<<20)
	if _, err := upkeep.Compact(ctx, access, upkeep.CompactOptions{Keep: 1}); err != nil {
		t.Fatal(err)
	}
	interrupted, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for interrupted.Err() == nil {
			members, err := inspect.Members(interrupted, access)
			if err == nil && slices.ContainsFunc(members, func(m inspect.Member) bool { return m.DBBytes < 3<<20 }) {
				cancel()
			}
		}
	}()
	first, err := upkeep.Defragment(interrupted, access, upkeep.DefragmentOptions{FreeAbove: 1})
	cancel()
	<-watched
	if (err == nil) != first.Done || len(first.Members) == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	t.Logf("it was interrupted after %d members: %v", len(first.Members), err)
	second, err := upkeep.Defragment(ctx, access, upkeep.DefragmentOptions{FreeAbove: 1})
	if err != nil || !second.Done {
		t.Fatalf("%+v, %v", second, err)
	}
	members, err := inspect.Members(ctx, access)
	if err != nil || slices.ContainsFunc(members, func(m inspect.Member) bool { return m.DBBytes > 3<<20 }) {
		t.Errorf("%+v, %v", members, err)
	}
}

func TestActsAreRefusedBeforeAnybodyIsAsked(t *testing.T) {
	nowhere := inspect.Access{Endpoints: []string{"http://127.0.0.1:1"}}
	f := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	defragment := func(o upkeep.DefragmentOptions) error {
		_, err := upkeep.Defragment(t.Context(), nowhere, o)
		return err
	}
	f(defragment(upkeep.DefragmentOptions{FreeAbove: -1}), "it may not be negative")
	f(defragment(upkeep.DefragmentOptions{Timeout: 2 * time.Hour}), "at most 1h")
	f(defragment(upkeep.DefragmentOptions{Settle: -1}), "must be above 0")
	_, err := upkeep.Compact(t.Context(), nowhere, upkeep.CompactOptions{Keep: -1})
	f(err, "it may not be negative")
	_, err = upkeep.Compact(t.Context(), nowhere, upkeep.CompactOptions{Timeout: 2 * time.Hour})
	f(err, "at most 1h")
	_, err = upkeep.RelieveNoSpace(t.Context(), nowhere, upkeep.RelieveOptions{UsedPercent: 100})
	f(err, "it must be 1 to 99")
	_, err = upkeep.RelieveNoSpace(t.Context(), nowhere, upkeep.RelieveOptions{Compact: upkeep.CompactOptions{Keep: -1}})
	f(err, "it may not be negative")
	_, err = upkeep.Defragment(t.Context(), inspect.Access{}, upkeep.DefragmentOptions{})
	f(err, "no endpoint")
}
