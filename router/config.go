package router

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/router/accesslog"
)

// Resolver keeps names resolved in the background and answers from memory.
type Resolver interface {
	// Track replaces the set of names to keep resolved.
	Track(names []string)
	// Lookup returns the addresses of a name as they are in memory, and whether a
	// resolution of it has ended yet, well or not. The slice is not written to.
	Lookup(name string) (addrs []netip.Addr, tried bool)
	// Notify registers f, which is called after the addresses of a name changed or its
	// first resolution ended. f must not block.
	Notify(f func(name string))
}

// Config says how a Router works. The zero value of each field means what it says there.
type Config struct {
	// ID names this router; decks see it in X-Grid-Router. Required.
	ID string
	// TrustedProxies are the peers that may speak for clients: whose X-Forwarded-*,
	// Forwarded, X-Request-Id and traceparent are believed. None: nobody.
	TrustedProxies []netip.Prefix
	// GSLB resolves the domains of decks on the mesh; nil: such decks stay unresolved.
	GSLB Resolver
	// Names resolves the names among addresses of direct decks; nil: those stay unresolved.
	Names Resolver
	// Pins finds pins that tables do not hold; nil: those stay unread.
	Pins Pins
	// AccessLog takes a line for each request, best with [AccessLogLanes]; nil: none is written.
	AccessLog *accesslog.Log
	// ClientTimeouts bounds how long a client may take.
	ClientTimeouts ClientTimeouts
	// ProxyProtocol says that each connection begins with a PROXY header, version 1 or 2,
	// from one of TrustedProxies. Connections from other peers are closed.
	ProxyProtocol bool
	// HalfClose says what becomes of a request whose client ends its direction of the connection
	// while it is answered. Default [HalfCloseDeparts].
	HalfClose HalfClose
	// MaxClients is how many connections from clients are open at most; those beyond wait in
	// the system's queue, unless the client of one is waited for: the longest waiting then
	// makes room. 0: three quarters of the descriptors that the process may have, so
	// that decks get theirs.
	MaxClients int
	// MaxClientsPerAddress is how many of these one address may have, of IPv6 a network of 64
	// bits; trusted peers may have all. 0: half of MaxClients.
	MaxClientsPerAddress int
	// Logger takes what happens to decks, documents and listeners; nil: nothing is logged.
	Logger *zap.Logger
}

// HalfClose is what a client means that sends no more and does not close its connection, which
// looks the same as one that closed it (a FIN), until something is sent to it.
type HalfClose uint8

const (
	// HalfCloseDeparts takes such a client for gone once its deck has been silent for half a
	// second: the deck's work is cancelled. What comes without such a silence it is given.
	HalfCloseDeparts HalfClose = iota
	// HalfCloseServed serves such a client to the end. One that is gone is noticed when its
	// connection breaks, which is when something is sent to it.
	HalfCloseServed
)

// ClientTimeouts bounds how long a client may take. A zero value takes the default that is
// named at its field.
type ClientTimeouts struct {
	// Head is for the head of a request to arrive. Default 10s.
	Head time.Duration
	// Idle is between two requests on a connection. Default 75s.
	Idle time.Duration
	// Body is for a body that was announced to stand still; each KiB that comes gives back a
	// second of it. Default 30s.
	Body time.Duration
	// Write is for a piece of the answer, at most 64 KiB, to be taken. Default 1m.
	Write time.Duration
	// Continue is how long a client that waits for 100 (Continue) waits for its deck to say it,
	// before the router does. Default 1s.
	Continue time.Duration
	// Tunnel is for a byte to come through a tunnel, in either direction. Default 1h.
	Tunnel time.Duration
}

func (p ClientTimeouts) withDefaults() ClientTimeouts {
	return ClientTimeouts{
		Head: cmp.Or(p.Head, 10*time.Second), Idle: cmp.Or(p.Idle, 75*time.Second),
		Body: cmp.Or(p.Body, 30*time.Second), Write: cmp.Or(p.Write, time.Minute), Tunnel: cmp.Or(p.Tunnel, time.Hour),
		Continue: cmp.Or(p.Continue, time.Second),
	}
}

// withDefaults fills in what the zero values stand for.
func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	c.ClientTimeouts = c.ClientTimeouts.withDefaults()
	if c.MaxClients <= 0 {
		c.MaxClients = defaultMaxClients()
	}
	if c.MaxClientsPerAddress <= 0 {
		c.MaxClientsPerAddress = (c.MaxClients + 1) / 2
	}
	return c
}

const (
	fewDescriptors = 64
	noLimit        = 1 << 20
)

// defaultMaxClients is three quarters of the descriptors that the process may have: what is
// left is for decks, and the rest.
func defaultMaxClients() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return noLimit
	}
	return int(max(min(limit.Cur, noLimit), fewDescriptors) * 3 / 4)
}

// maxIDBytes bounds a router's ID, which every deck gets with every request.
const maxIDBytes = 128

func checkID(id string) error {
	if id == "" {
		return errors.New("a router needs an ID that tells it from others; give one")
	}
	if len(id) > maxIDBytes {
		return fmt.Errorf("the router's ID has %d bytes; at most %d", len(id), maxIDBytes)
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return fmt.Errorf("the router's ID %q holds something else than visible ASCII characters; choose a plain name", id)
		}
	}
	return nil
}
