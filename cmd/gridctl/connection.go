package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
)

// connection are the flags that say how etcd is reached, and on whose behalf.
type connection struct {
	etcd    flags.Etcd
	timeout time.Duration
	who     string
}

func (c *connection) register(fs *pflag.FlagSet) {
	c.etcd.Register(fs)
	fs.DurationVar(&c.timeout, "timeout", 5*time.Second, "how long one call to etcd, or to a router, may take")
	fs.StringVar(&c.who, "who", "", "who makes the change, for its record (default USER@HOST)")
}

// open hands the catalog to use, and closes it afterwards. It makes no contact itself.
func (c *connection) open(cmd *cobra.Command, use func(ctx context.Context, grid *catalog.Catalog) error) error {
	config, err := c.etcd.ClientConfig()
	if err != nil {
		return err
	}
	if c.timeout <= 0 {
		return flags.Usagef("--timeout: %s is no time to answer in; write 5s or so", c.timeout)
	}
	config.DialTimeout = c.timeout
	client, err := discovery.NewClient(config, nil)
	if err != nil {
		return flags.Usagef("%w", err)
	}
	defer func() { _ = client.Close() }() // it only ends connections
	who := c.who
	if who == "" {
		who = whoami()
	}
	grid := catalog.New(catalog.Config{Client: client, Prefix: c.etcd.Prefix, Who: who, Timeout: c.timeout})
	return commandError(cmd, use(cmd.Context(), grid))
}

// whoami is user@host.
func whoami() string {
	name := os.Getenv("USER")
	if current, err := user.Current(); err == nil {
		name = current.Username
	}
	host, err := os.Hostname()
	if name == "" {
		name = "unknown"
	}
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s", name, host)
}
