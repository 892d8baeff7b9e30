package compare

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Config says what is compared. All fields without a remark are required.
type Config struct {
	// Hosts is how many hosts everybody is given: tenants of the router, lines of HAProxy's and
	// nginx's maps. At least [LeastHosts].
	Hosts int
	// Rounds is how often each arm is measured, in turns; at least 1. One more round before
	// them warms up and is not counted.
	Rounds int
	// Slice is how long an arm is measured at a time.
	Slice time.Duration
	// Idle is how many idle connections memory is measured with.
	Idle int
	// Updates is how many documents are changed under load, at [UpdateRate] a second.
	Updates int
	// Only are the parts to run, in the order of [Parts]; empty: all.
	Only []string
	// Peers are the proxies to compare with, of [Peers]; one that is not installed is left
	// out, and the report says so. Empty: all.
	Peers []string
	// Router is the path of the router's binary. Part returns the command line of one of
	// this program's own parts: "deck" or "etcd".
	Router string
	Part   func(args ...string) []string
	// Traefik is the path of Traefik's binary; empty: it is looked for where programs are.
	Traefik string
	// Dir is an existing folder for configurations, data and output; what is made in it is
	// removed.
	Dir string
	// Profile is a file for a CPU profile of the router under this lab's mix; empty: none.
	Profile string
	// Commit is told in the report.
	Commit string
	// Progress is told what is being done, a line at a time; nil: nobody.
	Progress io.Writer
}

// The least that makes sense, and how fast documents change.
const (
	LeastHosts = 100
	UpdateRate = 20_000
)

// The names of the peers.
const (
	peerHAProxy = "haproxy"
	peerNginx   = "nginx"
	peerCaddy   = "caddy"
	peerTraefik = "traefik"
)

// Peers returns the names of the proxies that can be compared with.
func Peers() []string { return []string{peerHAProxy, peerNginx, peerCaddy, peerTraefik} }

// Check says what is wrong with a configuration.
func (c *Config) Check() error {
	if err := allParts().Check(c.Only); err != nil {
		return err
	}
	for _, name := range c.Peers {
		if !slices.Contains(Peers(), name) {
			return fmt.Errorf("there is no peer %q; name some of %s", name, strings.Join(Peers(), ", "))
		}
	}
	switch {
	case c.Hosts < LeastHosts || c.Hosts > 9_999_999:
		return fmt.Errorf("there can be %d to 9999999 hosts, not %d", LeastHosts, c.Hosts)
	case c.Rounds < 1:
		return fmt.Errorf("%d rounds are too few; measure at least one", c.Rounds)
	case c.Slice < 100*time.Millisecond:
		return fmt.Errorf("an arm cannot be measured in %s; give it at least 100ms", c.Slice)
	case c.Idle < 1 || c.Updates < 1:
		return errors.New("at least one idle connection and one update must be measured")
	case c.Router == "" || c.Dir == "":
		return errors.New("the router's binary and a folder are needed")
	}
	return nil
}
