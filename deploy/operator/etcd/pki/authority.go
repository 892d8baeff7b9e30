package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"io"
	"slices"
	"time"
)

// The keys of the CA's Secret besides ca.crt, which with ca.key is the CA that signs.
const (
	caKey      = "ca.key"
	nextCert   = "ca-next.crt"     // trusted, and signs when all trust it
	nextKey    = "ca-next.key"     //
	previousCA = "ca-previous.crt" // signed before, and is trusted until nobody shows what it signed
)

// caAhead is how long before its end a CA is rotated: no certificate is then cut short by the end of its CA.
const caAhead = lifeOfCA / 5

// authority is what the Secret of the CA holds. Every CA in it is trusted.
type authority struct {
	current  *pair               // signs; nil: its key is lost, or there is none yet
	next     *pair               // signs after the next step
	previous []*x509.Certificate // signed before
}

// readAuthority reads the Secret of the CA. A CA whose key is lost or does not fit is one that signed before.
// What cannot be read is left out.
func readAuthority(data Data) authority {
	var a authority
	var orphans []*x509.Certificate
	read := func(certKey, keyKey string) *pair {
		cas := onlyCAs(data[certKey])
		cert, key, err := readPair(data[certKey], data[keyKey])
		if err != nil || len(cas) == 0 || !cas[0].Equal(cert) {
			orphans = append(orphans, cas...)
			return nil
		}
		orphans = append(orphans, cas[1:]...)
		return &pair{cert, key}
	}
	a.current, a.next = read(TrustKey, caKey), read(nextCert, nextKey)
	a.previous = slices.Concat(orphans, onlyCAs(data[previousCA]))
	return a.tidy()
}

// tidy keeps each CA once.
func (a authority) tidy() authority {
	if a.current != nil && a.next != nil && a.current.cert.Equal(a.next.cert) {
		a.next = nil
	}
	a.previous = slices.DeleteFunc(union(a.previous...), func(ca *x509.Certificate) bool {
		return a.current != nil && ca.Equal(a.current.cert) || a.next != nil && ca.Equal(a.next.cert)
	})
	return a
}

func onlyCAs(text []byte) []*x509.Certificate {
	certs, _ := readCerts(text) // of what is damaged, that which can be read counts
	return slices.DeleteFunc(certs, func(cert *x509.Certificate) bool {
		_, ours := cert.PublicKey.(*ecdsa.PublicKey)
		return !ours || !cert.IsCA || len(cert.SubjectKeyId) == 0 || cert.CheckSignatureFrom(cert) != nil
	})
}

// data is what the Secret is to hold.
func (a authority) data() Data {
	data := Data{}
	if a.current != nil {
		data[TrustKey], data[caKey] = certPEM(a.current.cert), keyPEM(a.current.key)
	}
	if a.next != nil {
		data[nextCert], data[nextKey] = certPEM(a.next.cert), keyPEM(a.next.key)
	}
	if len(a.previous) > 0 {
		data[previousCA] = certPEM(a.previous...)
	}
	return data
}

// all are the CAs that are trusted, in an order that a rotation's steps do not change.
func (a authority) all() []*x509.Certificate {
	all := slices.Clone(a.previous)
	for _, ca := range []*pair{a.current, a.next} {
		if ca != nil {
			all = append(all, ca.cert)
		}
	}
	return union(all...)
}

// issuers are the CAs whose certificates may stay: between the making of a CA and its first signature all, later
// only the one that signs.
func (a authority) issuers() []*x509.Certificate {
	if a.current != nil && a.next == nil {
		return []*x509.Certificate{a.current.cert}
	}
	return a.all()
}

// signer is the CA that signs what is missing; nil: none.
func (a authority) signer(now time.Time) *pair {
	if a.current == nil || a.next != nil && now.After(a.current.cert.NotAfter) {
		return a.next
	}
	return a.current
}

// id identifies the CA that signs, as [IssuerID] does. "": none does.
func (a authority) id() string {
	if a.current == nil {
		return ""
	}
	return idOf(a.current.cert)
}

func idOf(ca *x509.Certificate) string { return hex.EncodeToString(ca.SubjectKeyId) }

// newCA makes a CA, instead of another if there is one.
func newCA(random io.Reader, now time.Time, w *Wanted, before *x509.Certificate) (*pair, error) {
	begin, end := span(now, before, lifeOfCA, backdateCA)
	return issue(random, &x509.Certificate{
		Subject:   pkix.Name{CommonName: w.Cluster + " etcd CA", Organization: []string{w.Namespace}},
		NotBefore: begin, NotAfter: end,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}, nil)
}

// outOfTime says that a certificate is not good now.
func outOfTime(cert *x509.Certificate, now time.Time) bool {
	return now.Before(cert.NotBefore) || now.After(cert.NotAfter)
}

// dueCA says why another CA is to be made instead of one; "": none is.
func dueCA(ca *x509.Certificate, now, renew time.Time) string {
	switch {
	case now.Before(ca.NotBefore):
		return "the CA begins only on " + day(ca.NotBefore)
	case now.After(ca.NotAfter.Add(-caAhead)):
		return "the CA ends on " + day(ca.NotAfter)
	case !renew.IsZero() && !renew.After(now) && ca.NotAfter.Add(-lifeOfCA).Before(renew.UTC().Truncate(time.Second)):
		return "a CA made after " + day(renew) + " was asked for"
	}
	return ""
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
