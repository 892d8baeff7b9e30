package restore_test

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/etcd/backup"
)

// as connects as a user, whose password is the same as the name.
func as(user string) func(endpoints ...string) (*clientv3.Client, error) {
	return func(endpoints ...string) (*clientv3.Client, error) {
		return clientv3.New(clientv3.Config{Endpoints: endpoints, Username: user, Password: user, Logger: zap.NewNop(), DialTimeout: testkit.Patience})
	}
}

func TestClustersWithUsersAreBackedUpByRoot(t *testing.T) {
	c, s := startCluster(t), folder(t)
	ctx := patient(t)
	for _, user := range []string{"root", "reader"} {
		if _, err := c.UserAdd(ctx, user, user); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
	root, err := as("root")(c.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	admin := &cluster{Client: root, server: c.server, url: c.url}
	config := c.config(t, s)
	config.Source.Connect = as("root")
	f := follow(t, quick(config))
	last := admin.change(t, 1)
	f.reaches(t, last)
	f.mustEnd(t)
	if result := verified(t, s, ""); result.Revision != last || result.Compared == 0 {
		t.Errorf("%+v", result)
	}
	config.Source.Connect = as("reader")
	if _, err := backup.Take(patient(t), config); err == nil || !strings.Contains(err.Error(), "role root") {
		t.Errorf("a reader is told %v", err)
	}
	if err := backup.Follow(patient(t), quick(config)); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a reader who follows is told %v", err)
	}
}
