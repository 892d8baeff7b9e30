package catalog

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gridrouter.io/routing/document"
)

// Config says which documents a [Catalog] keeps, and on whose behalf.
type Config struct {
	// Client reaches etcd; the caller closes it.
	Client *clientv3.Client
	// Prefix is what all keys begin with; it ends with "/".
	Prefix string
	// Who is written into change records, such as "kim@bastion"; at most 256 bytes. Empty: "unknown".
	Who string
	// Timeout bounds each single call to etcd. Default 5s.
	Timeout time.Duration
	// Now tells the time for change records. Default time.Now.
	Now func() time.Time
}

// Catalog reads and writes the documents under one prefix. It holds no state of its
// own, so that any number may be at work on one prefix, and is safe for concurrent use.
type Catalog struct {
	client  *clientv3.Client
	at      layout
	who     string
	timeout time.Duration
	now     func() time.Time
	reader  *document.Reader
}

const (
	defaultTimeout = 5 * time.Second
	maxWhoBytes    = 256
	maxWhyBytes    = 1024
)

// New returns a catalog. It makes no contact.
func New(cfg Config) *Catalog {
	c := &Catalog{
		client:  cfg.Client,
		at:      layout(cfg.Prefix),
		who:     shortened(cfg.Who, maxWhoBytes),
		timeout: cfg.Timeout,
		now:     cfg.Now,
		reader:  NewReader(),
	}
	if c.who == "" {
		c.who = "unknown"
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c
}

// Reader returns the reader of all kinds of document.
func (c *Catalog) Reader() *document.Reader { return c.reader }

// shortened cuts a text to at most limit bytes.
func shortened(text string, limit int) string {
	return text[:min(len(text), limit)]
}

// get reads from etcd within the timeout of one call.
func (c *Catalog) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	call, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.client.Get(call, key, opts...)
	return answer, c.explain(ctx, err, false)
}

// txn runs one transaction within the timeout of one call.
func (c *Catalog) txn(ctx context.Context, conditions []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	call, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.client.Txn(call).If(conditions...).Then(then...).Else(otherwise...).Commit()
	writing := false
	for _, op := range then {
		writing = writing || !op.IsGet()
	}
	return answer, c.explain(ctx, err, writing)
}

// explain turns the client's errors into ours. ctx is the caller's: its end is the
// caller's own doing.
func (c *Catalog) explain(ctx context.Context, err error, writing bool) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded), unavailable(err):
		return &UnreachableError{c.client.Endpoints(), c.timeout, writing, err}
	}
	return err
}

// unavailable says whether an error is about the way to etcd, not about the request.
func unavailable(err error) bool {
	var told interface{ Code() codes.Code }
	code := status.Code(err)
	if errors.As(err, &told) {
		code = told.Code()
	}
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}
