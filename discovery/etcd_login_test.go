package discovery

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

func TestEtcdWrongPasswordIsToldAndMended(t *testing.T) {
	etcd := etcdtest.Start(t)
	root := newTestClient(t, etcd.Addr)
	etcdWriter{root, testRoot}.commit(t, map[string]string{"a": "1"})
	enableAuth(t, root)
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "guess-9134\n")
	dials := 0
	source := NewEtcd(EtcdConfig{Root: testRoot, Dial: func() (*clientv3.Client, error) {
		dials++
		return NewClient(ClientConfig{Endpoints: []string{etcd.Addr}, User: "router", PasswordFile: password}, nil)
	}})
	r := follow(t, source)
	testkit.Eventually(t, "a status that tells of the refusal", func() bool {
		s := source.Status()
		return strings.Contains(s.LastError, "refuses who we are") && strings.Contains(s.LastError, "--etcd-password-file")
	})
	if s := source.Status(); strings.Contains(s.LastError, "guess-9134") {
		t.Errorf("the status shows the password: %s", s.LastError)
	}
	if len(r.received()) != 0 {
		t.Error("a refusal gave a batch")
	}
	writeFile(t, password, "right\n")
	r.awaitState(map[string]string{"a": "1"})
	if err := r.stop(); !isCanceled(err) {
		t.Error(err)
	}
	if dials < 2 {
		t.Errorf("%d clients made, want a new one after a refusal", dials)
	}
}

func TestEtcdMayNotReadIsToldAndNotEmpty(t *testing.T) {
	etcd := etcdtest.Start(t)
	enableAuth(t, newTestClient(t, etcd.Addr))
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "right")
	client, err := NewClient(ClientConfig{Endpoints: []string{"http://" + etcd.Addr}, User: "router", PasswordFile: password}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	source := openEtcd(client, "/forbidden/")
	r := follow(t, source)
	testkit.Eventually(t, "a status that tells of the missing right", func() bool {
		return strings.Contains(source.Status().LastError, "grant its role read on the prefix /forbidden/")
	})
	if len(r.received()) != 0 {
		t.Error("a refusal gave a batch")
	}
}

// enableAuth gives etcd the users root and router; router may read and write
// under /gridrouter/. client works on until its next call, without a login.
func enableAuth(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, password := range map[string]string{"root": "admin", "router": "right"} {
		must(client.RoleAdd(ctx, name))
		must(client.UserAdd(ctx, name, password))
		must(client.UserGrantRole(ctx, name, name))
	}
	must(client.RoleGrantPermission(ctx, "router", "/gridrouter/", clientv3.GetPrefixRangeEnd("/gridrouter/"),
		clientv3.PermissionType(clientv3.PermReadWrite)))
	must(client.AuthEnable(ctx))
}
