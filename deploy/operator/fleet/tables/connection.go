package tables

import (
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// connection is the client of etcd that feeds share whose sources differ in nothing but their prefix.
type connection struct {
	source Source // of the first of them; its prefix means nothing here
	log    *zap.Logger
	users  int // guarded by the pool

	mu     sync.Mutex
	client *clientv3.Client
	files  *secrets
}

// open returns the client, and makes it if there is none yet. It makes no contact.
func (c *connection) open() (*clientv3.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		return c.client, nil
	}
	client, files, err := c.source.dial(c.log)
	if err != nil {
		return nil, err
	}
	c.client, c.files = client, files
	return client, nil
}

// close ends the client; nobody uses it any more.
func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		_ = c.client.Close() // nothing was left to be done
		c.files.close()
	}
}
