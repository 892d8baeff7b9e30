package pki

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"gridrouter.io/bench/testkit"
)

// A router keeps what it has read until it reads its Secret again.
type router struct {
	data   Data
	secret string
}

func (r *router) process() Process {
	bundle, issuer := IDs(r.data)
	return Process{Name: "router", Secret: r.secret, Bundle: bundle, Issuer: issuer}
}

func TestRotationUnderRunningMembers(t *testing.T) {
	e := startEtcds(t, "edge-0", "edge-1", "edge-2")
	r := &router{secret: e.wanted.UserSecret("fleet")}
	r.data = e.has[r.secret]
	first := maps.Clone(e.has)
	e.works("the start", r.data)

	e.now = e.now.Add(340 * 24 * time.Hour) // here alone
	if n := e.rotate(r, "renewal"); n.writes != 5 || n.restarts != 0 {
		t.Errorf("the renewal of certificates took %+v", n)
	}
	for _, m := range e.members {
		cert, err := greet(t, m.server.Addr, r.data)
		if err != nil || !cert.Equal(e.leaf(e.wanted.MemberSecret(m.name))) {
			t.Errorf("%s does not show its new certificate: %v", m.name, err)
		}
	}

	e.wanted.RenewCA = e.now
	// The CA is written three times. Bundles change twice and certificates once, for each of three members and two
	// users; each member is restarted for each bundle.
	if n := e.rotate(r, "rotation"); n.writes != 3+3*5 || n.restarts != 2*3 {
		t.Errorf("the rotation of the CA took %+v", n)
	}
	for _, m := range e.members {
		if _, err := greet(t, m.server.Addr, Data{
			CertKey: first[r.secret][CertKey], PrivateKey: first[r.secret][PrivateKey], TrustKey: e.has[r.secret][TrustKey],
		}); err == nil {
			t.Errorf("%s lets in who shows a certificate of the former CA", m.name)
		}
	}
}

// rotation counts what was done.
type rotation struct{ writes, restarts, reads int }

// rotate does what an operator does, one thing after the other, until nothing is left to do; after each the cluster
// must work.
func (e *etcds) rotate(r *router, name string) (n rotation) {
	e.t.Helper()
	for step := range 100 {
		e.running = e.observed(r.process())
		p := e.plan()
		did := ""
		switch restart := p.NeedsRestart(); {
		case len(p.Writes) > 0:
			w := p.Writes[0]
			e.has[w.Secret] = p.Secrets[w.Secret]
			for _, m := range e.members {
				if w.Secret == e.wanted.MemberSecret(m.name) {
					m.install(e.t, e.has[w.Secret])
				}
			}
			n.writes++
			did = w.Secret + ": " + w.Why
		case slices.ContainsFunc(restart, func(q Process) bool { return q.Name != "router" }):
			i := slices.IndexFunc(e.members, func(m *member) bool {
				return slices.ContainsFunc(restart, func(q Process) bool { return q.Name == m.name })
			})
			e.restart(e.members[i])
			n.restarts++
			did = "restart of " + e.members[i].name
		case len(restart) > 0 || strings.HasSuffix(p.Waiting, ": router"):
			r.data = e.has[r.secret]
			n.reads++
			did = "router reads its Secret"
		case p.Waiting != "":
			e.t.Fatalf("%s stopped: %s", name, p.Waiting)
		default:
			e.t.Logf("%s: %+v", name, n)
			return n
		}
		e.works(fmt.Sprintf("%s %d, %s", name, step, did), r.data, e.has[r.secret])
	}
	e.t.Fatalf("%s does not end", name)
	return n
}

// What the package's documentation says of etcd.
func TestEtcdReadsCertificatesAtEachHandshakeAndCAsAtItsStart(t *testing.T) {
	e := startEtcds(t, "edge-0", "edge-1")
	other := newWorld(t, e.wanted)
	other.now = e.now
	other.settle()
	m, secret, fleet := e.members[0], e.wanted.MemberSecret("edge-0"), e.wanted.UserSecret("fleet")
	both := slices.Concat(e.has[fleet][TrustKey], other.has[fleet][TrustKey])
	with := func(data Data, trust []byte) Data {
		return Data{CertKey: data[CertKey], PrivateKey: data[PrivateKey], TrustKey: trust}
	}
	ports := map[string]string{m.server.Addr: fleet, m.link.target: secret} // who is let in where

	for _, m := range e.members { // the files hold both CAs, and the certificate of one is from the other
		m.install(t, with(e.has[e.wanted.MemberSecret(m.name)], both))
	}
	m.install(t, with(other.has[secret], both))
	for addr, who := range ports {
		cert, err := greet(t, addr, with(e.has[who], both))
		if err != nil || !cert.Equal(other.leaf(secret)) {
			t.Errorf("it does not show the certificate of its file: %v", err)
		}
		if _, err := greet(t, addr, with(other.has[who], both)); err == nil {
			t.Error("it trusts the CA that its file got after it had started")
		}
	}
	m.link.cut()
	testkit.Eventually(t, "the other member, which was not restarted, does not trust it", func() bool {
		for _, entry := range e.members[1].logs.All() {
			if strings.Contains(fmt.Sprint(entry.ContextMap()["error"]), "certificate signed by unknown authority") {
				return true
			}
		}
		return false
	})

	m.install(t, with(e.has[secret], both))
	for _, m := range e.members {
		m.server.Restart(t)
	}
	m.install(t, with(other.has[secret], both))
	e.works("restart", with(e.has[fleet], both), with(other.has[fleet], both))
	for addr, who := range ports {
		if _, err := greet(t, addr, with(other.has[who], both)); err != nil {
			t.Errorf("after its restart it does not trust the CA: %v", err)
		}
	}
}

func TestOnlyMembersAreLetInAtThePeerPort(t *testing.T) {
	e := startEtcds(t, "edge-0")
	m := e.members[0]
	if _, err := greet(t, m.link.target, e.has[e.wanted.MemberSecret("edge-0")]); err != nil {
		t.Errorf("a member: %v", err)
	}
	for _, user := range []string{Root, "fleet"} {
		if _, err := greet(t, m.link.target, e.has[e.wanted.UserSecret(user)]); err == nil {
			t.Errorf("%s is let in", user)
		}
		if _, err := greet(t, m.server.Addr, e.has[e.wanted.UserSecret(user)]); err != nil {
			t.Errorf("%s is not let in where clients are: %v", user, err)
		}
	}
}

func TestCertificatesAreUsersOfEtcd(t *testing.T) {
	e := startEtcds(t, "edge-0")
	m, ctx := e.members[0], t.Context()
	root, end := m.client(t, e.has[e.wanted.UserSecret(Root)])
	defer end()
	for _, err := range []error{
		second(root.UserAdd(ctx, Root, "unused")), second(root.UserGrantRole(ctx, Root, "root")),
		second(root.UserAdd(ctx, "fleet", "unused")), second(root.AuthEnable(ctx)), second(root.Put(ctx, "a", "1")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range []string{e.wanted.UserSecret("fleet"), e.wanted.MemberSecret("edge-0")} {
		c, end := m.client(t, e.has[secret])
		if _, err := c.Get(ctx, "a"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s may read: %v", secret, err)
		}
		end()
	}
}

func second[T any](_ T, err error) error { return err }
