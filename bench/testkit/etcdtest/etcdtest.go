// Package etcdtest runs a real etcd in the process of a test.
//
// It is for tests only: no package imports it but in its _test.go files (a test in docs holds that),
// so that no binary carries the server through it.
package etcdtest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
)

// Server is one member of etcd, of a cluster of its own unless it is told otherwise.
type Server struct {
	// Addr is where clients reach it (host:port), also after a restart; URL is the same with its scheme.
	Addr, URL string
	// Dir has its data.
	Dir string
	// Etcd is the member itself. A restart replaces it.
	Etcd *embed.Etcd

	configure []func(*embed.Config)
	stopped   bool
}

// In has etcd use the data in a folder, which it makes if there is none.
func In(dir string) func(*embed.Config) { return func(cfg *embed.Config) { cfg.Dir = dir } }

// At has etcd serve clients at an address (host:port).
func At(addr string) func(*embed.Config) {
	return func(cfg *embed.Config) {
		at := []url.URL{{Scheme: cfg.ListenClientUrls[0].Scheme, Host: addr}}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = at, at
	}
}

// Start starts etcd, waits until it serves, and stops it with the test. Unless it is configured
// otherwise, its data are in a folder of its own and it serves plain HTTP at a free address, both kept
// until the test ends.
func Start(t testing.TB, configure ...func(*embed.Config)) *Server {
	t.Helper()
	s := Launch(t, configure...)
	s.AwaitReady(t)
	return s
}

// Launch is [Start] without the wait: a member of a cluster is ready when enough others are there.
func Launch(t testing.TB, configure ...func(*embed.Config)) *Server {
	t.Helper()
	unlessTold := []func(*embed.Config){In(t.TempDir()), At(testkit.FreeAddr(t))}
	s := &Server{configure: slices.Concat(unlessTold, configure)}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Open is [Start] for who has no test, such as a TestMain: its caller owns the folder and stops it.
func Open(dir string) (*Server, error) {
	s := &Server{configure: []func(*embed.Config){In(dir)}}
	if err := s.start(); err != nil {
		return nil, err
	}
	err := s.ready()
	if err == nil {
		err = s.answers()
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// AwaitReady waits until the member serves.
func (s *Server) AwaitReady(t testing.TB) {
	t.Helper()
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
}

// Stop ends etcd, connections and all; a second call does nothing. It waits for watches to end: who
// follows through a proxy cuts it first.
func (s *Server) Stop() {
	if !s.stopped {
		s.stopped = true
		s.Etcd.Close()
	}
}

// Restart stops etcd, unless it is stopped, and starts it again on its data and at its address, with
// the configuration it had.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.configure = append(s.configure, At(s.Addr))
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	s.AwaitReady(t)
}

func (s *Server) start() error {
	cfg := embed.NewConfig()
	anywhere := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = anywhere, anywhere
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = anywhere, anywhere
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.InitialClusterToken = ""
	cfg.TickMs, cfg.ElectionMs = 10, 100 // who is alone has nobody to wait for
	cfg.UnsafeNoFsync = true
	cfg.BcryptCost = 4 // the least
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	for _, change := range s.configure {
		change(cfg)
	}
	if cfg.InitialClusterToken == "" {
		cfg.InitialClusterToken = cfg.Dir // another folder is another cluster
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	s.Etcd, s.Dir, s.stopped = server, cfg.Dir, false
	s.Addr = server.Clients[0].Addr().String()
	s.URL = cfg.ListenClientUrls[0].Scheme + "://" + s.Addr
	return nil
}

func (s *Server) ready() error {
	select {
	case <-s.Etcd.Server.ReadyNotify():
		return nil
	case <-time.After(testkit.Patience):
		return errors.New("etcd did not become ready")
	}
}

// answers asks etcd something over HTTP. Ready as it says it is, it may still be making what serves
// clients, in which a library reads what testing writes when it begins.
func (s *Server) answers() error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: testkit.Patience}
	answer, err := client.Get(s.URL + "/version")
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
