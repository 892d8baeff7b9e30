package etcd_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/lab/etcd"
	"gridrouter.io/bench/testkit"
)

// run starts a member, calls use with a client of it, and stops it.
func run(t *testing.T, config etcd.Config, use func(context.Context, *clientv3.Client)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- etcd.Serve(serving, config) }()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + config.Client}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	use(ctx, client)
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("etcd ended with %v", err)
	}
}

func TestDataOutliveTheMember(t *testing.T) {
	config := etcd.Config{Dir: t.TempDir(), Client: testkit.FreeAddr(t), Peer: testkit.FreeAddr(t), LogLevel: "error"}
	run(t, config, func(ctx context.Context, client *clientv3.Client) {
		if _, err := client.Put(ctx, "k", "v"); err != nil {
			t.Fatal(err)
		}
	})
	run(t, config, func(ctx context.Context, client *clientv3.Client) {
		got, err := client.Get(ctx, "k")
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
			t.Errorf("the second member knows %v, %v", got, err)
		}
	})
}

func TestTakenAddressIsAnError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = etcd.Serve(context.Background(), etcd.Config{
		Dir: t.TempDir(), Client: taken.Addr().String(), Peer: testkit.FreeAddr(t), NoSync: true, LogLevel: "fatal",
	})
	if err == nil {
		t.Fatal("etcd serves at an address that is taken")
	}
	if text := fmt.Sprint(err); text == "" {
		t.Error("the error says nothing")
	}
}
