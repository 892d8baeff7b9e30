package pki

import (
	"crypto/x509"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	// soon is when to look again while a rotation goes on, if nothing tells of a change before.
	soon = time.Minute
	// latest bounds the time until the next look: a timer does not see that the clock was set.
	latest = 12 * time.Hour
)

// Process is something that runs with a certificate of the cluster: an etcd member, a router, an operator. Those
// that are starting or ending count as well; more than one may use one Secret.
type Process struct {
	// Name is that of the pod or process, for people.
	Name string
	// Secret names the Secret it has its certificate from.
	Secret string
	// Bundle is the [BundleID] of the CAs that it trusts at the next handshake. For an etcd member that is what
	// its file held when it started. "": it is not known, so it may be any.
	Bundle string
	// Issuer is the [IssuerID] of the certificate that it shows at the next handshake. "": it is not known.
	Issuer string
}

// Write is a Secret that is to be written whole.
type Write struct {
	// Secret is its name.
	Secret string
	// Why says what changed, for logs and events; it has no key in it.
	Why string
}

// Plan is what is to be.
type Plan struct {
	// Secrets are the contents of all Secrets that are wanted, by name. A Secret of the cluster that is not
	// among them can go.
	Secrets map[string]Data
	// Writes are the Secrets that hold something else yet, in the order in which they are to be written: the
	// CA's first. Who can write only some goes on with the next plan.
	Writes []Write
	// Bundle is the [BundleID] of the CAs that are to be trusted. It changes only with a rotation of the CA.
	Bundle string
	// Issuer is the [IssuerID] of the certificates that the CA signs now. "": it has lost its key.
	Issuer string
	// Waiting says what a rotation of the CA waits for. "": none goes on, or its next step is in Writes.
	Waiting string
	// TrustLost says that by the clock no certificate can be verified, since the CAs are out of their time. Where
	// the members do refuse each other, which a wrong clock here cannot tell, those that are to be restarted need
	// not wait for a quorum.
	TrustLost bool
	// Next is when to look again, even if nothing has changed; at most 12 hours from now.
	Next time.Time

	processes []Process
}

// NeedsRestart returns the processes that trust other CAs than they are to, or may: of etcd members, those that
// must be restarted, one after the other, each when its volume has the bundle of the plan. It is empty while the
// Secrets do not hold that bundle yet.
func (p *Plan) NeedsRestart() []Process {
	if len(p.Writes) > 0 {
		return nil
	}
	return p.not(func(q Process) bool { return q.Bundle == p.Bundle })
}

func (p *Plan) not(good func(Process) bool) []Process {
	return slices.DeleteFunc(slices.Clone(p.processes), good)
}

// Desired says what the Secrets of a cluster are to hold. It is pure: the same arguments, random bytes among
// them, make the same plan. random must be a good source, such as [crypto/rand.Reader].
//
// has are the contents of the cluster's Secrets by name, as they are and not as a cache once saw them: every
// write must fail if the Secret has changed since (resourceVersion), or is there although it was not. processes
// are all that run. The error says what is wrong with what is wanted, all at once; damaged Secrets are none, they
// are mended.
func Desired(now time.Time, random io.Reader, has map[string]Data, processes []Process, wanted Wanted) (Plan, error) {
	if err := wanted.check(); err != nil {
		return Plan{}, fmt.Errorf("certificates of etcd cluster %s/%s: %w", wanted.Namespace, wanted.Cluster, err)
	}
	m := &maker{now: now, random: random, has: has, wanted: &wanted, processes: processes, holders: wanted.holders()}
	a := m.known()
	plan := Plan{}
	if lost := a.current == nil && a.next == nil; !lost {
		var err error
		if plan, err = m.plan(a, "what could not be used is left out"); err != nil || len(plan.Writes) > 0 {
			return plan, err
		}
	}
	next, why, err := m.step(a, &plan)
	if err != nil || why == "" {
		return plan, err
	}
	return m.plan(next, why)
}

// maker makes one plan.
type maker struct {
	now       time.Time
	random    io.Reader
	has       map[string]Data
	wanted    *Wanted
	processes []Process
	holders   []holder
}

// known is the authority as the CA's Secret has it, and as far as that is lost or damaged, as the other Secrets tell:
// a CA that most of them trust stays trusted while a certificate of it is in use; one of which they do not know must
// become known before it signs. A single Secret in which somebody has put another CA changes nothing.
func (m *maker) known() authority {
	a := readAuthority(m.has[m.wanted.CASecret()])
	trusted := m.mostTrust()
	for _, ca := range trusted {
		if m.inUse(ca) {
			a.previous = append(a.previous, ca)
		}
	}
	if a.current != nil && len(trusted) > 0 && !slices.ContainsFunc(trusted, a.current.cert.Equal) {
		if a.next != nil {
			a.previous = append(a.previous, a.next.cert)
		}
		a.current, a.next = nil, a.current
	}
	return a.tidy()
}

// mostTrust are the CAs in more than half of those Secrets of holders that have any.
func (m *maker) mostTrust() []*x509.Certificate {
	var all []*x509.Certificate
	secrets := 0
	for _, h := range m.holders {
		if cas := union(onlyCAs(m.has[h.secret][TrustKey])...); len(cas) > 0 {
			all = append(all, cas...)
			secrets++
		}
	}
	return slices.DeleteFunc(union(all...), func(ca *x509.Certificate) bool {
		n := 0
		for _, other := range all {
			if other.Equal(ca) {
				n++
			}
		}
		return n <= secrets/2
	})
}

// inUse says whether a Secret has, or somebody shows, a certificate that a CA signed.
func (m *maker) inUse(ca *x509.Certificate) bool {
	return slices.ContainsFunc(m.processes, func(q Process) bool { return q.Issuer == idOf(ca) }) ||
		slices.ContainsFunc(m.holders, func(h holder) bool {
			cert, _, err := readPair(m.has[h.secret][CertKey], m.has[h.secret][PrivateKey])
			return err == nil && cert.CheckSignatureFrom(ca) == nil
		})
}

// step takes the one step of the CA's life that can be taken now, if any. The plan is of the authority as it is.
func (m *maker) step(a authority, plan *Plan) (next authority, why string, err error) {
	begin := func(before *x509.Certificate) (ca *pair) {
		ca, err = newCA(m.random, m.now, m.wanted, before)
		return ca
	}
	switch {
	case a.current == nil && a.next == nil && len(a.previous) == 0:
		a.current, why = begin(nil), "there is no CA yet"
	case a.current == nil && a.next == nil:
		a.next, why = begin(latestOf(a.previous)), "the key of the CA is lost: another CA was made"
	case a.next != nil && outOfTime(a.next.cert, m.now):
		a.previous = append(a.previous, a.next.cert)
		a.next, why = begin(a.next.cert), "the new CA is out of its time: another was made"
	case a.next != nil:
		if plan.Waiting = waiting("trust the new CA", plan.NeedsRestart()); plan.Waiting != "" {
			return a, "", nil
		}
		if a.current != nil {
			a.previous = append(a.previous, a.current.cert)
		}
		a.current, a.next, why = a.next, nil, "all trust the new CA: it signs now"
	case len(a.previous) > 0:
		others := plan.not(func(q Process) bool { return q.Issuer == plan.Issuer })
		if plan.Waiting = waiting("show a certificate of the new CA", others); plan.Waiting != "" {
			return a, "", nil
		}
		a.previous, why = nil, "nobody shows a certificate of a former CA any more: it is trusted no longer"
	default:
		due := dueCA(a.current.cert, m.now, m.wanted.RenewCA)
		if due == "" {
			return a, "", nil
		}
		a.next, why = begin(a.current.cert), due+": another CA was made"
	}
	return a.tidy(), why, err
}

// latestOf is the CA that was made last.
func latestOf(cas []*x509.Certificate) *x509.Certificate {
	return slices.MaxFunc(cas, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// waiting names those who do not do something yet; "": all do.
func waiting(what string, those []Process) string {
	if len(those) == 0 {
		return ""
	}
	const most = 5
	var names []string
	for _, q := range those {
		names = append(names, q.Name)
	}
	names = sortedSet(names)
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return "waits until these " + what + ": " + strings.Join(names, ", ") + more
}

// plan is what follows from an authority.
func (m *maker) plan(a authority, why string) (Plan, error) {
	p := Plan{Secrets: map[string]Data{}, Issuer: a.id(), processes: m.processes}
	put := func(secret, why string, data Data) {
		p.Secrets[secret] = data
		if !sameData(m.has[secret], data) {
			p.Writes = append(p.Writes, Write{secret, why})
		}
	}
	put(m.wanted.CASecret(), why, a.data())
	trust := certPEM(a.all()...)
	p.Bundle = BundleID(trust)
	for _, h := range m.holders {
		data, why, err := m.leaf(&h, a)
		if err != nil {
			return Plan{}, fmt.Errorf("certificate of %s: %w", h.what, err)
		}
		data[TrustKey] = trust
		put(h.secret, h.what+": "+why, data)
	}
	p.TrustLost = !slices.ContainsFunc(a.all(), func(ca *x509.Certificate) bool { return !outOfTime(ca, m.now) })
	p.Next = m.next(a, &p)
	return p, nil
}

// leaf is a holder's certificate and key, those that it has if they are good.
func (m *maker) leaf(h *holder, a authority) (data Data, why string, err error) {
	has := m.has[h.secret]
	found := h.look(has, a, m.now, m.wanted.rotateBefore())
	signer := a.signer(m.now)
	// For its time alone a certificate is not given up for one of a CA that not all trust yet.
	keep := found.why == "" || found.late && signer != a.current || signer == nil
	if keep {
		return Data{CertKey: has[CertKey], PrivateKey: has[PrivateKey]}, "the CAs that are trusted changed", nil
	}
	cert, key, err := h.renew(m.random, m.wanted, signer, m.now, found.old)
	return Data{CertKey: cert, PrivateKey: key}, "a new certificate: " + found.why, err
}

// next is the first time at which something changes by itself.
func (m *maker) next(a authority, p *Plan) time.Time {
	next := m.now.Add(latest)
	sooner := func(t time.Time) {
		if t.After(m.now) && t.Before(next) {
			next = t
		}
	}
	if len(p.Writes) > 0 || a.next != nil || len(a.previous) > 0 || p.TrustLost {
		sooner(m.now.Add(soon))
	}
	sooner(m.wanted.RenewCA)
	if a.current != nil {
		sooner(a.current.cert.NotAfter.Add(-caAhead))
	}
	for _, data := range p.Secrets {
		if cert, _, err := readPair(data[CertKey], data[PrivateKey]); err == nil {
			sooner(cert.NotAfter.Add(-m.wanted.rotateBefore() + time.Second))
		}
	}
	return next
}
