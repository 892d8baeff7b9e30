package inspect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/etcd/inspect/brief"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*testkit.Patience)
	t.Cleanup(cancel)
	return ctx
}

func accessTo(servers ...*etcdtest.Server) inspect.Access {
	var a inspect.Access
	for _, s := range servers {
		a.Endpoints = append(a.Endpoints, s.URL)
	}
	return a
}

// clientOf connects to members; it ends with the test, before they do.
func clientOf(t *testing.T, access inspect.Access, endpoints ...string) *clientv3.Client {
	t.Helper()
	client, err := access.Connect(context.WithoutCancel(t.Context()), endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func reasons(findings []inspect.Finding) []inspect.Reason {
	var out []inspect.Reason
	for _, f := range findings {
		if !slices.Contains(out, f.Reason) {
			out = append(out, f.Reason)
		}
	}
	return out
}

// expect fails unless a report has findings of a reason, and returns them.
func expect(t *testing.T, r inspect.Report, reason inspect.Reason, count int) []inspect.Finding {
	t.Helper()
	var out []inspect.Finding
	for _, f := range r.Findings {
		if f.Reason == reason {
			out = append(out, f)
			if f.Message == "" || f.Plan == "" || f.Severity == "" {
				t.Errorf("a finding lacks something: %+v", f)
			}
		}
	}
	if len(out) != count {
		t.Errorf("%d findings are %s, want %d: %+v", len(out), reason, count, r.Findings)
	}
	return out
}

// small fails unless a result is small enough, and returns it as JSON.
func small(t *testing.T, result any) string {
	t.Helper()
	text, err := json.Marshal(result)
	if err != nil || len(text) > brief.MostBytes {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	return string(text)
}

func TestAnAccessIsCheckedBeforeAnybodyIsAsked(t *testing.T) {
	f := func(a inspect.Access, want string) {
		t.Helper()
		for name, err := range map[string]error{
			"probe":         second(inspect.Probe(t.Context(), a, inspect.ProbeOptions{Prefix: "/probe/"})),
			"configuration": second(inspect.Configuration(t.Context(), a, inspect.Options{})),
			"consistency":   second(inspect.Consistency(t.Context(), a)),
		} {
			if err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
	}
	f(inspect.Access{}, "no endpoint: name the client URL of each member, like http://host:2379")
	for _, bad := range []string{"host:2379", "http://host", "unix:///x", "http://\x00:1", ""} {
		f(inspect.Access{Endpoints: []string{bad}}, "endpoint 1 must be like http://host:2379 or https://host:2379")
	}
	f(inspect.Access{Endpoints: []string{"http://user:secret@host:2379"}}, "endpoint 1 (host:2379) must be scheme, host and port alone")
	f(inspect.Access{Endpoints: []string{"http://a:1", "http://a:1"}}, "endpoint http://a:1 is named twice: name each member once")
	f(inspect.Access{Endpoints: []string{"http://a:1"}, User: "root"}, "user and password belong together: give both or none")
}

func second[T any](_ T, err error) error { return err }

func TestAProbeMeasuresEveryEndpointAndLeavesNothing(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	access := accessTo(cluster.Members...)
	r, err := inspect.Probe(patient(t), access, inspect.ProbeOptions{Prefix: "/probe/", Rounds: 2, Timeout: testkit.Patience})
	if err != nil || !r.Works || len(r.Probed) != 4 || r.Probed[3].Endpoint != "all" {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, one := range r.Probed {
		for _, timing := range one.Timings {
			if timing.Done == 0 || timing.Failed > 0 || timing.MedianMilliseconds <= 0 || timing.MostMilliseconds < timing.MedianMilliseconds {
				t.Errorf("%s: %+v", one.Endpoint, timing)
			}
		}
	}
	t.Log(small(t, r))
	client := clientOf(t, access)
	if left, err := client.Get(patient(t), "", clientv3.WithPrefix()); err != nil || len(left.Kvs) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	if leases, err := client.Leases(patient(t)); err != nil || len(leases.Leases) != 0 {
		t.Errorf("%v, %v", leases, err)
	}
}

func TestAProbeSaysWhereItFails(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	_, follower := cluster.Leader(t)
	follower.Stop()
	options := inspect.ProbeOptions{Prefix: "/probe/", Rounds: 1, Timeout: testkit.Patience}
	access := accessTo(cluster.Members...)
	ended, cancel := context.WithCancel(patient(t))
	cancel()
	if _, err := inspect.Probe(ended, access, options); err == nil {
		t.Error("a probe went on after the end of its context")
	}
	options.Timeout = testkit.Patience / 15
	r, err := inspect.Probe(patient(t), access, options)
	if err != nil || r.Works {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, one := range r.Probed {
		if down := one.Endpoint == follower.URL; down && (one.Works || one.Timings[0].Error == "") {
			t.Errorf("%s is down: %+v", one.Endpoint, one)
		}
	}
	small(t, r)
	for _, bad := range []inspect.ProbeOptions{{}, {Prefix: "/p/", Rounds: 101}, {Prefix: "/p/", Rounds: -1}, {Prefix: "/p/", Timeout: 1}} {
		if _, err := inspect.Probe(patient(t), access, bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestMembersTellOfThemselves(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	leader, follower := cluster.Leader(t)
	access := accessTo(cluster.Members...)
	client, endpoint, err := access.Follower(patient(t))
	if err != nil || endpoint == leader.URL {
		t.Fatalf("%s leads, the follower is %s, %v", leader.URL, endpoint, err)
	}
	_ = client.Close()
	members, err := inspect.Members(patient(t), access)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if !m.Answers() || m.Leads != (m.Endpoint == leader.URL) || m.QuotaBytes == 0 || m.DBBytes == 0 || m.Version == "" {
			t.Errorf("%+v", m)
		}
		var again inspect.Member
		if text, err := json.Marshal(m); err != nil || json.Unmarshal(text, &again) != nil || fmt.Sprint(again) != fmt.Sprint(m) {
			t.Errorf("%s, %v: %+v", text, err, again)
		}
	}
	follower.Stop()
	gone := accessTo(follower)
	if _, _, err := gone.Follower(patient(t)); err == nil {
		t.Error("a member that is stopped follows")
	}
	var id inspect.ID
	if err := json.Unmarshal([]byte(`"xyz"`), &id); err == nil {
		t.Error("xyz is an ID")
	}
}
