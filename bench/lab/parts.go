package lab

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
)

// Stages of a start: the parts of one stage start at the same time, when those of the
// stage before are ready. A stop goes the other way.
const (
	stageGround  = iota // what needs nobody
	stageNames          // what reads etcd
	stageRouters        // what reads etcd and asks for names
	stageFront          // what leads to the routers
	stages
)

// spec describes a part: how to start it and how to ask whether it is ready.
type spec struct {
	name    string
	what    string   // for people
	address string   // its main address
	listens []string // all its addresses, "tcp HOST:PORT" or "udp HOST:PORT"
	stage   int
	program string
	args    []string
	ready   func(ctx context.Context) error
}

// program names in the folder of binaries.
const (
	programRouter = "gridrouter"
	programCtl    = "gridctl"
	programDev    = "griddev"
)

// specs lists the parts of a grid, in the order in which people think of them.
func specs(l Layout, config Config, data string) []spec {
	parts := slices.Concat(
		[]spec{etcdSpec(l, config, data)},
		deckSpecs(l),
		[]spec{
			ingressSpec(l), vipSpec(l, VIP1, l.MeshVIP(1)), vipSpec(l, VIP2, l.MeshVIP(2)),
			gslbSpec(l, config),
		})
	for n := range config.routers() {
		parts = append(parts, routerSpec(l, config, n+1))
	}
	return append(parts, lvsSpec(l, config))
}

func etcdSpec(l Layout, config Config, data string) spec {
	args := []string{"part", "etcd", "--dir", filepath.Join(data, "etcd"), "--client", l.Etcd(), "--peer", l.EtcdPeer()}
	if config.Data == "" {
		args = append(args, "--no-sync")
	}
	return spec{
		name: Etcd, what: "etcd, holds the documents", address: l.Etcd(), stage: stageGround,
		listens: []string{"tcp " + l.Etcd(), "tcp " + l.EtcdPeer()},
		program: programDev, args: args,
		ready: answers200("http://" + l.Etcd() + "/health"),
	}
}

func deckSpecs(l Layout) []spec {
	zones := []string{"east-a", "east-b", "west-a", "west-b"}
	attach := []string{"attached directly", "attached directly", "on the mesh", "on the mesh"}
	parts := make([]spec, 0, len(zones))
	for i, name := range DeckNames() {
		parts = append(parts, spec{
			name: name, what: "deck, " + attach[i], address: l.Deck(i), stage: stageGround,
			listens: []string{"tcp " + l.Deck(i)},
			program: programDev,
			args:    []string{"part", "deck", "--name", name, "--zone", zones[i], "--listen", l.Deck(i)},
			ready:   answers200("http://" + l.Deck(i) + "/"),
		})
	}
	return parts
}

func ingressSpec(l Layout) spec {
	names := DeckNames()
	args := []string{
		"part", "ingress", "--name", "mesh-west", "--listen", l.Ingress(),
		"--route", names[2] + "." + Origin + "=" + l.Deck(2),
		"--route", names[3] + "." + Origin + "=" + l.Deck(3),
	}
	return spec{
		name: Ingress, what: "mesh ingress, routes by Host", address: l.Ingress(), stage: stageGround,
		listens: []string{"tcp " + l.Ingress()},
		program: programDev, args: args, ready: connects(l.Ingress()),
	}
}

func vipSpec(l Layout, name, address string) spec {
	return spec{
		name: name, what: "VIP of the mesh (L4 forwarder)", address: address, stage: stageGround,
		listens: []string{"tcp " + address, "tcp " + l.Status(name)},
		program: programDev,
		args: []string{"part", "l4", "--name", name, "--listen", address, "--status", l.Status(name),
			"--to", l.Ingress()},
		ready: answers200("http://" + l.Status(name) + "/"),
	}
}

func gslbSpec(l Layout, config Config) spec {
	return spec{
		name: GSLB, what: "GSLB, answers the mesh decks' domains", address: l.GSLB(), stage: stageNames,
		listens: []string{"udp " + l.GSLB(), "tcp " + l.GSLB()},
		program: programRouter,
		args:    append([]string{"gslb", "--listen", l.GSLB(), "--origin", Origin}, config.etcd(GSLB, config.via(GSLB, l.Etcd()))...),
		ready:   answersZone(l.GSLB(), Origin),
	}
}

func routerSpec(l Layout, config Config, n int) spec {
	name := "r" + strconv.Itoa(n)
	own := []string{"serve", "--router-id", name,
		"--listen", l.Data(n), "--admin", l.Admin(n), "--health", l.Health(n),
		"--gslb", config.via(name, l.GSLB()),
		// Long enough for the forwarder in front to see that the router leaves.
		"--drain-delay", "1s", "--drain-timeout", "5s"}
	return spec{
		name: name, what: "router", address: l.Data(n), stage: stageRouters,
		listens: []string{"tcp " + l.Data(n), "tcp " + l.Admin(n), "tcp " + l.Health(n)},
		program: programRouter, args: slices.Concat(own, config.etcd(name, config.via(name, l.Etcd())), config.RouterFlags),
		ready: answers200("http://" + l.Health(n) + "/readyz"),
	}
}

func lvsSpec(l Layout, config Config) spec {
	args := make([]string, 0, 8+2*config.routers())
	args = append(args, "part", "l4", "--name", LVS, "--listen", l.VIP(), "--status", l.Status(LVS))
	for n := range config.routers() {
		args = append(args, "--to", l.Data(n+1)+",health=http://"+l.Health(n+1)+"/readyz")
	}
	return spec{
		name: LVS, what: "LVS stand-in, the VIP for clients", address: l.VIP(), stage: stageFront,
		listens: []string{"tcp " + l.VIP(), "tcp " + l.Status(LVS)},
		program: programDev, args: args,
		ready: answers200("http://" + l.Status(LVS) + "/"),
	}
}
