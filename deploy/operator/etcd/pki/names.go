package pki

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Root is the user of etcd's own that may do everything; the operator is this user.
const Root = "root"

// The keys of Secrets that hold a certificate.
const (
	CertKey    = "tls.crt" // the certificate, with intermediates behind it, as PEM
	PrivateKey = "tls.key" // its key, as PEM
	TrustKey   = "ca.crt"  // the CAs that are trusted, as PEM; in the CA's Secret the one that signs
)

// Bounds of RotateBefore. The greatest is half of a certificate's life.
const (
	MinRotateBefore     = time.Hour
	MaxRotateBefore     = lifeOfLeaf / 2
	DefaultRotateBefore = 720 * time.Hour
)

// Wanted says who is to have certificates.
type Wanted struct {
	// Cluster and Namespace are those of the EtcdCluster. Cluster has at most 56 characters, since its
	// Services are named after it.
	Cluster, Namespace string
	// Domain is that of the Kubernetes cluster. "": "cluster.local".
	Domain string
	// Members are the names of the members' pods, each a DNS label, in any order. A member stays among them
	// until its pod has ended.
	Members []string
	// Users are those of etcd's users that get a certificate, in any order; [Root] always has one. A name is
	// DNS labels with dots between, 64 characters at most.
	Users []string
	// RotateBefore is how long before its end a certificate is renewed, within the bounds of this package.
	// 0: [DefaultRotateBefore].
	RotateBefore time.Duration
	// RenewCA asks for another CA instead of one that was made before this time, to the second. Zero, or a time
	// that is not there yet: none is asked for.
	RenewCA time.Time
}

// Data is what a Secret holds. Nobody changes one after it was handed on.
type Data = map[string][]byte

// CASecret names the Secret of the CA. The dot in names of Secrets keeps those of two clusters apart, since
// names of clusters have none.
func (w *Wanted) CASecret() string { return w.Cluster + ".ca" }

// MemberSecret names the Secret of a member.
func (w *Wanted) MemberSecret(member string) string { return w.Cluster + ".member." + member }

// UserSecret names the Secret of a user.
func (w *Wanted) UserSecret(user string) string { return w.Cluster + ".user." + user }

// PeersHost is a name that all members' certificates bear, and no user's. etcd is to let in at its peer port
// only who bears it: --peer-cert-allowed-hostname.
func (w *Wanted) PeersHost() string { return w.Cluster + "-peers." + w.Namespace + ".svc" }

// MemberHost is the name under which its peers reach a member.
func (w *Wanted) MemberHost(member string) string { return member + "." + w.PeersHost() }

// ClientHost is the name under which clients reach the cluster.
func (w *Wanted) ClientHost() string { return w.Cluster + "-client." + w.Namespace + ".svc" }

func (w *Wanted) domain() string {
	if w.Domain == "" {
		return "cluster.local"
	}
	return w.Domain
}

func (w *Wanted) rotateBefore() time.Duration {
	if w.RotateBefore == 0 {
		return DefaultRotateBefore
	}
	return w.RotateBefore
}

// holder is who has a certificate: a member, or a user.
type holder struct {
	secret     string
	what       string // for people
	commonName string // empty for members: etcd takes it for a user's name
	hosts      []string
	addresses  []net.IP
	server     bool
}

// holders are all that are to have certificates, members first, each once, in the order of their names.
func (w *Wanted) holders() []holder {
	all := make([]holder, 0, len(w.Members)+len(w.Users)+1)
	for _, name := range sortedSet(w.Members) {
		all = append(all, holder{
			secret: w.MemberSecret(name), what: "member " + name, server: true, hosts: w.hosts(name),
			addresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
		})
	}
	for _, name := range sortedSet(append(slices.Clone(w.Users), Root)) {
		all = append(all, holder{secret: w.UserSecret(name), what: "user " + name, commonName: name})
	}
	return all
}

func (w *Wanted) hosts(member string) []string {
	client := w.Cluster + "-client"
	return []string{
		w.MemberHost(member), w.MemberHost(member) + "." + w.domain(), w.PeersHost(),
		client, client + "." + w.Namespace, w.ClientHost(), w.ClientHost() + "." + w.domain(), "localhost",
	}
}

func sortedSet(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// check says what is wrong with what is wanted, all of it.
func (w *Wanted) check() error {
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	const label = "use at most %d of a-z, 0-9 and '-', with a letter or digit at both ends"
	add(!isLabel(w.Cluster, 56), "name of the cluster %q: "+label, w.Cluster, 56)
	add(!isLabel(w.Namespace, 63), "namespace %q: "+label, w.Namespace, 63)
	add(!isName(w.domain(), 253), "domain of the Kubernetes cluster %q: give it without dots at its ends, as cluster.local", w.Domain)
	for _, member := range w.Members {
		add(!isLabel(member, 63), "name of the member %q: "+label, member, 63)
	}
	for _, user := range w.Users {
		add(!isName(user, 64), "name of the user %q: "+label+"; dots may stand between such parts", user, 64)
	}
	before := w.rotateBefore()
	add(before < MinRotateBefore || before > MaxRotateBefore, "tls.rotateBefore %s: choose %s to %s", before, MinRotateBefore, MaxRotateBefore)
	return errors.Join(errs...)
}

func isLabel(name string, most int) bool {
	if name == "" || len(name) > most || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// isName says whether a name is labels with dots between.
func isName(name string, most int) bool {
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label, 63) {
			return false
		}
	}
	return len(name) <= most
}
