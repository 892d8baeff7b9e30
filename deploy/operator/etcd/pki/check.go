package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Needs says what a certificate that people bring must be good for.
type Needs struct {
	// Hosts are the names and IP addresses under which others reach who has it. None: it serves nobody.
	Hosts []string
	// Client says that it must be good for clients.
	Client bool
	// CommonName is etcd's user. "": it does not matter.
	CommonName string
}

// MembersNeed is what the one certificate of all these members must be good for. For a Secret of each member's
// own it is asked with that member alone.
func (w *Wanted) MembersNeed(members ...string) Needs {
	n := Needs{Client: true}
	for _, member := range sortedSet(members) {
		n.Hosts = append(n.Hosts, w.MemberHost(member))
	}
	n.Hosts = append(n.Hosts, w.ClientHost())
	return n
}

// UserNeeds is what the certificate of one of etcd's users must be good for.
func UserNeeds(user string) Needs { return Needs{Client: true, CommonName: user} }

// Problem is one thing that is wrong with a Secret.
type Problem struct {
	// Key is the key of the Secret that it is about.
	Key string
	// What says what is wrong, Mend what to do.
	What, Mend string
}

// String is the problem in a line for people. It has no key in it.
func (p Problem) String() string { return p.Key + " " + p.What + ": " + p.Mend }

// Report is what [Check] found.
type Report struct {
	// Problems are in the order of the Secret's keys: tls.crt, tls.key, ca.crt. None: the Secret is good.
	Problems []Problem
	// Until is when the first of the certificate and the CAs it needs ends. Zero: it cannot be read.
	Until time.Time
}

// Check says what is wrong with a Secret that people brought: tls.crt, tls.key and ca.crt, each as PEM.
func Check(data Data, needs Needs, now time.Time) Report {
	c := &checker{now: now}
	chain := c.certs(data, CertKey)
	if len(chain) > 0 {
		c.Until = chain[0].NotAfter
		c.leaf(chain[0], needs)
	}
	c.key(data, len(chain) > 0)
	if cas := c.certs(data, TrustKey); len(cas) > 0 {
		c.trust(chain, cas)
	}
	return c.Report
}

type checker struct {
	Report
	now time.Time
}

func (c *checker) add(key, what, mend string) {
	c.Problems = append(c.Problems, Problem{key, what, mend})
}

func (c *checker) certs(data Data, key string) []*x509.Certificate {
	certs, err := readCerts(data[key])
	if err != nil {
		mend := "put the certificate there as PEM, with those of intermediate CAs behind it"
		if key == TrustKey {
			mend = "put the certificates of the CAs there as PEM"
		}
		c.add(key, err.Error(), mend)
		return nil
	}
	return certs
}

// leaf checks the certificate by itself.
func (c *checker) leaf(cert *x509.Certificate, needs Needs) {
	c.time(CertKey, "", cert)
	var missing []string
	for _, host := range needs.Hosts {
		if cert.VerifyHostname(host) != nil {
			missing = append(missing, host)
		}
	}
	if len(missing) > 0 {
		c.add(CertKey, "is not for "+strings.Join(missing, ", "), "have it issued with these as subject alternative names")
	}
	if len(needs.Hosts) > 0 && !usable(cert, x509.ExtKeyUsageServerAuth) {
		c.add(CertKey, "is not for servers", "have it issued with the extended key usage serverAuth")
	}
	if needs.Client && !usable(cert, x509.ExtKeyUsageClientAuth) {
		why := ""
		if len(needs.Hosts) > 0 {
			why = ", too: members of etcd are each other's clients"
		}
		c.add(CertKey, "is not for clients", "have it issued with the extended key usage clientAuth"+why)
	}
	if want := needs.CommonName; want != "" && cert.Subject.CommonName != want {
		c.add(CertKey, fmt.Sprintf("has the common name %q", cert.Subject.CommonName),
			fmt.Sprintf("have it issued with the common name %q, which etcd takes for the user", want))
	}
}

func (c *checker) time(key, which string, cert *x509.Certificate) bool {
	switch {
	case c.now.After(cert.NotAfter):
		c.add(key, which+"ended on "+day(cert.NotAfter), "renew it")
	case c.now.Before(cert.NotBefore):
		c.add(key, which+"begins only on "+day(cert.NotBefore), "have it issued with an earlier begin, or set the clock")
	default:
		return true
	}
	return false
}

// usable says whether a certificate is for a use; one that names none is for all.
func usable(cert *x509.Certificate, use x509.ExtKeyUsage) bool {
	return len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 ||
		slices.Contains(cert.ExtKeyUsage, use) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// key checks the key, and whether it fits a certificate that can be read.
func (c *checker) key(data Data, readable bool) {
	text := data[PrivateKey]
	if len(text) > mostBytes {
		c.add(PrivateKey, fmt.Sprintf("has %d bytes, more than %d", len(text), mostBytes), "put only the key of tls.crt there")
		return
	}
	block, _ := pem.Decode(text)
	switch {
	case len(text) == 0:
		c.add(PrivateKey, "is missing or empty", "put the key of tls.crt there as PEM")
	case block == nil:
		c.add(PrivateKey, "holds no key in PEM", "put the key of tls.crt there as PEM")
	case strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "":
		c.add(PrivateKey, "is encrypted", "put it there without a passphrase, which etcd cannot ask for")
	case readable:
		if _, err := tls.X509KeyPair(data[CertKey], text); err != nil {
			c.add(PrivateKey, "cannot be read, or does not fit tls.crt", "put the key there that tls.crt was issued for")
		}
	}
}

// trust checks the CAs, and whether they verify the certificate.
func (c *checker) trust(chain, cas []*x509.Certificate) {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, ca := range cas {
		if !ca.IsCA {
			c.add(TrustKey, fmt.Sprintf("holds %q, which is no CA", ca.Subject), "put only certificates of CAs there")
		}
		roots.AddCert(ca)
	}
	if len(chain) == 0 {
		return
	}
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	ways, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: c.inTime(chain[0]), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && !c.time(TrustKey, fmt.Sprintf("%q ", invalid.Cert.Subject), invalid.Cert):
	case err != nil:
		c.add(TrustKey, "does not verify tls.crt", fmt.Sprintf(
			"put the CA there that issued it, %q, and the intermediates between them into tls.crt", chain[0].Issuer))
	default:
		c.Until = ends(ways)
	}
}

// inTime is now, or the nearest time at which a certificate is good: that it is not now was said already.
func (c *checker) inTime(cert *x509.Certificate) time.Time {
	switch {
	case c.now.After(cert.NotAfter):
		return cert.NotAfter
	case c.now.Before(cert.NotBefore):
		return cert.NotBefore
	}
	return c.now
}

// ends is how long the best of the ways from a certificate to a root is good.
func ends(ways [][]*x509.Certificate) time.Time {
	var best time.Time
	for _, way := range ways {
		end := slices.MinFunc(way, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
		if end.After(best) {
			best = end
		}
	}
	return best
}
