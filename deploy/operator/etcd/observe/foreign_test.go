package observe_test

import (
	"strconv"
	"testing"

	"go.uber.org/zap/zaptest"

	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/operator/etcd/observe"
)

// TestTheListOfAnotherClusterIsNotTaken has the etcd of somebody else answer at the address of a member, as it does where
// that ended and its address was given away.
func TestTheListOfAnotherClusterIsNotTaken(t *testing.T) {
	foreign, ours := etcdtest.Start(t), etcdtest.StartCluster(t, 1).Members[0]
	id := uint64(ours.Etcd.Server.Cluster().ID())
	if id == uint64(foreign.Etcd.Server.Cluster().ID()) {
		t.Fatal("both are the same cluster")
	}
	p := observe.NewPool(zaptest.NewLogger(t))
	t.Cleanup(p.Close)
	target := observe.Target{Endpoints: map[string]string{"a": foreign.URL, "b": ours.URL}, ClusterID: strconv.FormatUint(id, 16)}
	p.Follow("a", target, quick, func() {})
	report := reported(t, p, "a report of both", func(r observe.Report) bool { return r.Known && r.Members["b"].Err == nil && r.Members["a"].Err == nil })
	if len(report.List) != 1 || report.List[0].ID != uint64(ours.Etcd.Server.MemberID()) {
		t.Errorf("the list is %+v, wanted that of the cluster %x", report.List, id)
	}
	target.Endpoints = map[string]string{"a": foreign.URL}
	p.Follow("a", target, quick, func() {})
	reported(t, p, "no list where only the other one answers", func(r observe.Report) bool {
		return len(r.Members) == 1 && r.Members["a"].Err == nil && !r.Known
	})
}
