package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// finding is what is known of a holder's certificate.
type finding struct {
	why  string            // it is to be made anew; "": it is good
	late bool              // only for its time
	old  *x509.Certificate // one of ours, good or not; nil: none
}

// look says whether a holder's certificate is what it is to be.
func (h *holder) look(data Data, a authority, now time.Time, before time.Duration) finding {
	cert, _, err := readPair(data[CertKey], data[PrivateKey])
	var found finding
	if cert != nil && signedBy(cert, a.all()) {
		found.old = cert
	}
	switch {
	case data == nil:
		found.why = "there is none yet"
	case err != nil:
		found.why = err.Error()
	case found.old == nil:
		found.why = "none of the CAs signed it"
	case !signedBy(cert, a.issuers()):
		found.why = "the CA changed"
	default:
		found.why = h.differs(cert)
	}
	if signer := a.signer(now); found.why == "" && signer != nil {
		found.why = late(cert, signer.cert, now, before)
		found.late = found.why != ""
	}
	return found
}

// late says why a certificate is to be made anew for its time. One that would be no better stays, so that
// nothing is made again and again while the CA itself is out of its time.
func late(cert, ca *x509.Certificate, now time.Time, before time.Duration) string {
	if now.Before(cert.NotBefore) && !now.Before(ca.NotBefore) {
		return "it begins only on " + day(cert.NotBefore)
	}
	_, end := within(ca, now, cert)
	if now.After(cert.NotAfter.Add(-before)) && end.After(cert.NotAfter) {
		return "it ends on " + day(cert.NotAfter)
	}
	return ""
}

// within is the time of a certificate that a CA signs now instead of another.
func within(ca *x509.Certificate, now time.Time, before *x509.Certificate) (begin, end time.Time) {
	begin, end = span(now, before, lifeOfLeaf, backdateLeaf)
	if end.After(ca.NotAfter) {
		end = ca.NotAfter
	}
	return begin, end
}

// differs says in what a certificate of ours is not the holder's.
func (h *holder) differs(cert *x509.Certificate) string {
	want := h.template()
	switch {
	case cert.Subject.CommonName != want.Subject.CommonName:
		return "its common name is another"
	case !slices.Equal(sortedSet(cert.DNSNames), sortedSet(want.DNSNames)):
		return "it is for the names " + strings.Join(cert.DNSNames, ", ")
	case !sameAddresses(cert.IPAddresses, want.IPAddresses):
		return "it is for other addresses"
	case !slices.Equal(cert.ExtKeyUsage, want.ExtKeyUsage) || cert.IsCA:
		return "it is for another use"
	}
	return ""
}

func sameAddresses(a, b []net.IP) bool {
	texts := func(ips []net.IP) []string {
		all := make([]string, len(ips))
		for i, ip := range ips {
			all[i] = ip.String()
		}
		return sortedSet(all)
	}
	return slices.Equal(texts(a), texts(b))
}

func signedBy(cert *x509.Certificate, cas []*x509.Certificate) bool {
	return slices.ContainsFunc(cas, func(ca *x509.Certificate) bool { return cert.CheckSignatureFrom(ca) == nil })
}

func (h *holder) template() *x509.Certificate {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: h.commonName}, DNSNames: h.hosts, IPAddresses: h.addresses,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if h.server { // peers dial each other, and etcd's gateway dials its own server
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	return t
}

// renew makes a certificate for a holder, instead of an old one if there is one.
func (h *holder) renew(random io.Reader, w *Wanted, ca *pair, now time.Time, old *x509.Certificate) (cert, key []byte, err error) {
	t := h.template()
	t.Subject.Organization, t.Subject.OrganizationalUnit = []string{w.Namespace}, []string{w.Cluster}
	t.NotBefore, t.NotAfter = within(ca.cert, now, old)
	leaf, err := issue(random, t, ca)
	if err != nil {
		return nil, nil, err
	}
	return certPEM(leaf.cert), keyPEM(leaf.key), nil
}

// sameData says whether a Secret holds what it is to hold. Keys that are not ours concern nobody.
func sameData(has, want Data) bool {
	if has == nil {
		return false
	}
	for _, key := range []string{CertKey, PrivateKey, TrustKey, caKey, nextCert, nextKey, previousCA} {
		if !bytes.Equal(has[key], want[key]) {
			return false
		}
	}
	return true
}
