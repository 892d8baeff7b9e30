package discovery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// Contact is what the parts of a process know together of etcd being away and
// coming back. Each part waits longer and longer while etcd is away, by itself;
// the first answer that any of them gets ends the waits of all. Clients tell it
// what they meet ([ClientConfig]); [Etcd] and [Announcer] use it. All methods
// are safe for concurrent use. Make one with [NewContact].
type Contact struct {
	away atomic.Bool // somebody got no answer, and nobody has had one since

	mu    sync.Mutex // guards the rest
	back  context.Context
	ended context.CancelFunc // of back
}

// redialEvery is how often, on average, a lost connection is made to try again
// at once, when etcd has answered on another one since. In between its own
// back-off spaces what it tries.
const redialEvery = 2 * time.Second

// NewContact makes a contact for one process, or one etcd.
func NewContact() *Contact {
	c := &Contact{}
	c.back, c.ended = context.WithCancel(context.Background())
	return c
}

// returned gives a context that ends when etcd answers again after somebody got
// no answer. It never ends where nobody tells, which is c being nil.
func (c *Contact) returned() context.Context {
	if c == nil {
		return context.Background()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back
}

// isAway says whether the last that was heard of etcd is nothing.
func (c *Contact) isAway() bool { return c != nil && c.away.Load() }

func (c *Contact) missed() { c.away.Store(true) }

func (c *Contact) answered() {
	if !c.away.Load() || !c.away.CompareAndSwap(true, false) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended()
	c.back, c.ended = context.WithCancel(context.Background())
}

// watchConnection watches a client's connection until the client is closed. That it
// stands is an answer.
func (c *Contact) watchConnection(client *clientv3.Client) {
	ctx, conn := client.Ctx(), client.ActiveConnection()
	for c.untilReady(ctx, conn) {
		c.answered()
		conn.WaitForStateChange(ctx, connectivity.Ready)
	}
}

// untilReady waits for a connection, and says whether ctx is still alive. Once
// etcd has answered somebody else, it is not left to its own back-off.
func (c *Contact) untilReady(ctx context.Context, conn *grpc.ClientConn) bool {
	back := c.returned()
	for state := conn.GetState(); state != connectivity.Ready && ctx.Err() == nil; state = conn.GetState() {
		if back.Err() != nil {
			// Only what waits is hurried: while gRPC makes connections it adds them to the map that
			// ResetConnectBackoff goes through unguarded, and a process ends of that.
			if state == connectivity.TransientFailure {
				conn.ResetConnectBackoff()
			}
			stays(ctx, conn, state, around(redialEvery))
			continue
		}
		if state == connectivity.TransientFailure {
			c.missed()
		}
		staysUntil(ctx, back, conn, state)
	}
	return ctx.Err() == nil
}

// stays waits until a connection leaves a state, for so long at most.
func stays(ctx context.Context, conn *grpc.ClientConn, state connectivity.State, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	conn.WaitForStateChange(ctx, state)
}

// staysUntil waits until a connection leaves a state, or until ends.
func staysUntil(ctx, until context.Context, conn *grpc.ClientConn, state connectivity.State) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(until, cancel)()
	conn.WaitForStateChange(ctx, state)
}

// awaitConnection waits until a client has a connection, or ctx ends: calls that
// fail fast would fail for the lack of it.
func awaitConnection(ctx context.Context, client *clientv3.Client) {
	conn := client.ActiveConnection()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		conn.Connect()
		if !conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// observe takes the end of a call, or of one message. Of errors some are etcd's own
// words, and others, such as the end of our own context, say nothing of it.
func (c *Contact) observe(err error) {
	switch status.Code(err) {
	case codes.OK, codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.OutOfRange:
		c.answered()
	case codes.Unavailable, codes.DeadlineExceeded:
		c.missed()
	default:
	}
}

// unary is a grpc.UnaryClientInterceptor.
func (c *Contact) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	c.observe(err)
	return err
}

// stream is a grpc.StreamClientInterceptor.
func (c *Contact) stream(ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, description, conn, method, options...)
	if err != nil {
		c.observe(err)
		return nil, err
	}
	return &observedStream{ClientStream: stream, contact: c}, nil
}

// observedStream is a stream whose messages are signs of life.
type observedStream struct {
	grpc.ClientStream
	contact *Contact
}

// RecvMsg implements [grpc.ClientStream].
func (h *observedStream) RecvMsg(message any) error {
	err := h.ClientStream.RecvMsg(message)
	h.contact.observe(err)
	return err
}
