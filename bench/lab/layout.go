package lab

import (
	"fmt"
	"net/netip"
	"strings"
)

// DefaultNet is the block that the sample documents are written for.
const DefaultNet = "127.77.0"

// Origin is the DNS name under which the decks' domains lie.
const Origin = "deck.example"

// Names of a grid's parts, as [Grid.Kill] and its siblings take them. The decks are
// parts, too, under their own names: see [DeckNames].
const (
	Etcd    = "etcd"
	Ingress = "ingress"
	VIP1    = "vip-1"
	VIP2    = "vip-2"
	GSLB    = "gslb"
	Router1 = "r1"
	Router2 = "r2"
	LVS     = "lvs"
)

// Ctl is gridctl, which is no part of a grid, but asks its etcd: see Login of [Config].
const Ctl = "gridctl"

// DeckNames returns the names of the sample decks: two attached directly, two on the
// mesh.
func DeckNames() []string {
	return []string{"orders-east-1", "orders-east-2", "orders-west-1", "orders-west-2"}
}

// Layout says where a grid's parts listen, in one block of loopback addresses.
type Layout struct {
	net string
}

// NewLayout returns the layout of a block, given as its first three numbers:
// "127.77.0".
func NewLayout(block string) (Layout, error) {
	address, err := netip.ParseAddr(block + ".1")
	if err != nil || !address.Is4() || !address.IsLoopback() || strings.HasPrefix(block, "127.0.0") {
		return Layout{}, fmt.Errorf("%q is not a block of loopback addresses; "+
			"write three numbers, such as %s (127.0.0 is taken by the machine itself)", block, DefaultNet)
	}
	return Layout{net: block}, nil
}

// Net returns the block's first three numbers.
func (l Layout) Net() string { return l.net }

func (l Layout) at(host, port int) string { return fmt.Sprintf("%s.%d:%d", l.net, host, port) }

// VIP returns the address that clients use: the LVS stand-in.
func (l Layout) VIP() string { return l.at(1, 8080) }

// Data returns the address of a router's data listener, Admin and Health those of its
// other listeners. The routers are counted from 1.
func (l Layout) Data(router int) string { return l.at(10+router, 8080) }

// Admin returns the address of a router's admin listener.
func (l Layout) Admin(router int) string { return l.at(10+router, 9901) }

// Health returns the address of a router's health listener.
func (l Layout) Health(router int) string { return l.at(10+router, 9902) }

// Deck returns the address of the deck with that index in [DeckNames].
func (l Layout) Deck(index int) string { return l.at(21+index, 8080) }

// MeshVIP returns the address of a VIP of the mesh, 1 or 2.
func (l Layout) MeshVIP(n int) string { return l.at(30+n, 8080) }

// Status returns the address of the status page of a forwarder: [LVS], [VIP1] or [VIP2].
func (l Layout) Status(forwarder string) string {
	switch forwarder {
	case VIP1:
		return l.at(31, 9900)
	case VIP2:
		return l.at(32, 9900)
	}
	return l.at(1, 9900)
}

// Ingress returns the address of the mesh ingress.
func (l Layout) Ingress() string { return l.at(41, 8080) }

// GSLB returns the address of the GSLB DNS server, for UDP and TCP.
func (l Layout) GSLB() string { return l.at(51, 5300) }

// Etcd returns the address of etcd's client listener.
func (l Layout) Etcd() string { return l.at(61, 2379) }

// EtcdPeer returns the address of etcd's peer listener.
func (l Layout) EtcdPeer() string { return l.at(61, 2380) }

// EtcdURL returns the URL that etcd's clients use.
func (l Layout) EtcdURL() string { return "http://" + l.Etcd() }

// lock is the address that a grid listens at to say that the block is its own.
func (l Layout) lock() string { return l.at(254, 7770) }

// Rewrite returns a text that was written for [DefaultNet] with its addresses moved to
// this block.
func (l Layout) Rewrite(text string) string {
	return strings.ReplaceAll(text, DefaultNet+".", l.net+".")
}
