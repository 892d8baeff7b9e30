package restore_test

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"gridrouter.io/deploy/etcd/backup"
)

// TestAlarmsOfTheOldClusterAreNotRestored backs etcd up while it takes no writes, as is done before anything
// is tried with it.
func TestAlarmsOfTheOldClusterAreNotRestored(t *testing.T) {
	c, s := startCluster(t), folder(t)
	c.change(t, 1)
	raise := pb.NewMaintenanceClient(c.ActiveConnection())
	for _, kind := range []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT} {
		if _, err := raise.Alarm(patient(t), &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: kind, MemberID: 77}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Put(patient(t), "x", "1"); err == nil {
		t.Fatal("etcd takes writes in spite of its alarms")
	}
	if _, err := backup.Take(patient(t), c.config(t, s)); err != nil {
		t.Fatal(err)
	}
	verified(t, s, "")
	other, _ := restored(t, options(s, t.TempDir()))
	if _, err := other.Put(patient(t), "x", "1"); err != nil {
		t.Errorf("the restored etcd takes no writes: %v", err)
	}
	if alarms, err := other.AlarmList(patient(t)); err != nil || len(alarms.Alarms) > 0 {
		t.Errorf("%v, %v", alarms, err)
	}
}
