// Package etcd is the grid's embedded etcd: one member, on loopback, for development
// and tests.
package etcd

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/crypto/bcrypt"
)

// Config describes the member.
type Config struct {
	// Dir keeps the data. A folder that another run left goes on where it ended.
	Dir string
	// Client and Peer are addresses to listen at (host:port).
	Client, Peer string
	// NoSync leaves writing to disk to the kernel: quicker, and safe against the death of
	// the process, not of the machine. For data that nobody will miss.
	NoSync bool
	// LogLevel is one of etcd's: debug, info, warn, error. Empty: warn.
	LogLevel string
}

// Serve runs the member until ctx ends.
func Serve(ctx context.Context, config Config) error {
	server, err := embed.StartEtcd(embedConfig(config))
	if err != nil {
		return fmt.Errorf("etcd cannot start: %w", err)
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case <-server.Server.StopNotify():
		return fmt.Errorf("etcd stopped of its own accord; its log says why")
	case err := <-server.Err():
		return fmt.Errorf("etcd failed: %w", err)
	}
}

// embedConfig sets up a member that elects itself at once and keeps to its addresses.
func embedConfig(config Config) *embed.Config {
	client := url.URL{Scheme: "http", Host: config.Client}
	peer := url.URL{Scheme: "http", Host: config.Peer}
	c := embed.NewConfig()
	c.Name = "grid"
	c.Dir = config.Dir
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.Name + "=" + peer.String()
	// A member that is alone has nobody to wait for.
	c.TickMs, c.ElectionMs = 20, 200
	c.UnsafeNoFsync = config.NoSync
	c.BcryptCost = uint(bcrypt.MinCost) // a grid's passwords guard nothing, and checking one is slow by design
	c.EnableGRPCGateway = false
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, time.Hour.String()
	c.LogOutputs = []string{embed.StdErrLogOutput}
	c.LogLevel = config.LogLevel
	if c.LogLevel == "" {
		c.LogLevel = "warn"
	}
	return c
}
