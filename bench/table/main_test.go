package table

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"gridrouter.io/bench/lab/etcd"
)

// childDir, where it is set, makes the test binary an etcd member with its data there.
const childDir = "GRIDBENCH_TEST_ETCD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(serveEtcd(dir, os.Args[1], os.Args[2]))
	}
	goleak.VerifyTestMain(m)
}

func serveEtcd(dir, client, peer string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := etcd.Serve(ctx, etcd.Config{Dir: dir, Client: client, Peer: peer, NoSync: true, LogLevel: "fatal"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
