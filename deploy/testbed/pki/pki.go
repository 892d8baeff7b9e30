// Package pki makes the certificates and kubeconfigs of a testbed. All of it is made anew for
// every testbed and thrown away with it.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// validity of all certificates: longer than any testbed lives.
const validity = 30 * 24 * time.Hour

// Authority signs certificates, and writes them into a folder.
type Authority struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Files are the paths of a certificate and its key.
type Files struct{ Certificate, Key string }

// Subject is who a certificate is for. One with hosts is a server's, too.
type Subject struct {
	Name   string   // the user, for Kubernetes
	Groups []string // the user's groups
	Hosts  []string // addresses and names of the server
}

// New makes an authority, whose own certificate is in the folder as ca.crt.
func New(folder string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "testbed"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	a := &Authority{folder: folder, certificate: template, key: key}
	der, err := a.write("ca", template, key)
	if err != nil {
		return nil, err
	}
	a.certificate, err = x509.ParseCertificate(der)
	return a, err
}

// CA is the path of the authority's certificate.
func (a *Authority) CA() string { return filepath.Join(a.folder, "ca.crt") }

// Issue makes a certificate, in files with the given name.
func (a *Authority) Issue(name string, subject Subject) (Files, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Files{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		return Files{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: subject.Name, Organization: subject.Groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(subject.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range subject.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	_, err = a.write(name, template, key)
	return Files{filepath.Join(a.folder, name+".crt"), filepath.Join(a.folder, name+".key")}, err
}

func (a *Authority) write(name string, template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := writePEM(filepath.Join(a.folder, name+".crt"), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return der, writePEM(filepath.Join(a.folder, name+".key"), "EC PRIVATE KEY", keyDER)
}

// ServiceAccountKey makes the pair of keys that tokens of service accounts are signed with:
// sa.key and sa.pub. The Certificate of the result is the public key.
func (a *Authority) ServiceAccountKey() (Files, error) {
	files := Files{filepath.Join(a.folder, "sa.pub"), filepath.Join(a.folder, "sa.key")}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return files, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return files, err
	}
	if err := writePEM(files.Certificate, "PUBLIC KEY", public); err != nil {
		return files, err
	}
	return files, writePEM(files.Key, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

// Kubeconfig issues a client certificate for a user and writes a kubeconfig with it. The file
// names no others, so it can be copied anywhere.
func (a *Authority) Kubeconfig(path, server, name string, subject Subject) error {
	files, err := a.Issue(name, subject)
	if err != nil {
		return err
	}
	var data [3][]byte
	for i, file := range []string{a.CA(), files.Certificate, files.Key} {
		if data[i], err = os.ReadFile(file); err != nil {
			return err
		}
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["testbed"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: data[0]}
	config.AuthInfos[subject.Name] = &clientcmdapi.AuthInfo{ClientCertificateData: data[1], ClientKeyData: data[2]}
	config.Contexts["testbed"] = &clientcmdapi.Context{Cluster: "testbed", AuthInfo: subject.Name}
	config.CurrentContext = "testbed"
	return clientcmd.WriteToFile(*config, path)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
