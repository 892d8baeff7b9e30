package discovery

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// tampering changes what watch streams bring, on their way from a real etcd.
type tampering struct {
	// change may alter a message of the watch stream with this number (the
	// first is 1); false drops it.
	change func(stream int, message *pb.WatchResponse) bool
	// before, if set, runs before a watch stream is opened.
	before  func()
	streams atomic.Int32
}

// intercept is a grpc.StreamClientInterceptor.
func (a *tampering) intercept(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if method != pb.Watch_Watch_FullMethodName {
		return open(ctx, d, conn, method, options...)
	}
	if a.before != nil {
		a.before()
	}
	stream, err := open(ctx, d, conn, method, options...)
	if err != nil || a.change == nil {
		return stream, err
	}
	return &tamperedStream{ClientStream: stream, change: a.change, number: int(a.streams.Add(1))}, nil
}

type tamperedStream struct {
	grpc.ClientStream
	change func(int, *pb.WatchResponse) bool
	number int
}

func (s *tamperedStream) RecvMsg(message any) error {
	for {
		if err := s.ClientStream.RecvMsg(message); err != nil {
			return err
		}
		if s.change(s.number, message.(*pb.WatchResponse)) {
			return nil
		}
	}
}

// deafUntil leaves the streams before the one with this number nothing but
// their opening.
func deafUntil(stream int) func(int, *pb.WatchResponse) bool {
	return func(number int, message *pb.WatchResponse) bool { return number >= stream || message.Created }
}

// tamperedClient is a plain client, without our own keepalive and limits,
// closed with the test.
func tamperedClient(t *testing.T, addr string, intercept grpc.StreamClientInterceptor) *clientv3.Client {
	t.Helper()
	client, err := dialPlain(addr, grpc.WithChainStreamInterceptor(intercept))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func dialPlain(addr string, options ...grpc.DialOption) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop(), DialOptions: options})
}

// openTest makes a source as openEtcd does, from a configuration in part.
func openTest(cfg EtcdConfig) *Etcd {
	cfg.Root, cfg.Registerer = testRoot, prometheus.NewPedanticRegistry()
	if cfg.ProgressEvery == 0 {
		cfg.ProgressEvery = testProgress
	}
	return NewEtcd(cfg)
}

// awaitEtcd waits until the receiver holds exactly what etcd holds now.
func (r *receiver) awaitEtcd(client *clientv3.Client) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := client.Get(ctx, testRoot, clientv3.WithPrefix())
	if err != nil {
		r.t.Fatal(err)
	}
	want := map[string]string{}
	for _, pair := range answer.Kvs {
		want[string(pair.Key[len(testRoot):])] = string(pair.Value)
	}
	r.awaitState(want)
}

// wholeAfterFirst says how many whole batches came after the first batch.
func (r *receiver) wholeAfterFirst() int {
	whole := -1
	for _, batch := range r.received() {
		if batch.Whole {
			whole++
		}
	}
	return whole
}
