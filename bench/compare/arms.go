package compare

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/buildinfo"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// decks is how many decks there are. Host number i belongs to deck i modulo decks.
const decks = 4

// What hosts are called: 30 bytes, all under one wildcard, so that one certificate serves them.
const (
	hostPattern = "t{7}" + hostDomain
	hostDomain  = ".shop-of-bench.example"
)

func hostName(i int) string { return fmt.Sprintf("t%07d%s", i, hostDomain) }

// arm is something that requests are sent through.
type arm struct {
	name    string
	version string
	addr    string
	tlsAddr string   // empty: none
	one     bool     // it knows one deck, d0, and sends everything there
	process *process // nil: none is measured
	admin   string   // of the router
}

// grid is what all arms share.
type grid struct {
	dir     string
	decks   []string
	process *process // the decks'
	tls     *tls.Config
	pem     string // certificate and key in one file
	certDir string
}

// startGrid starts the decks and makes a certificate.
func (b *bench) startGrid(ctx context.Context) error {
	g := &grid{dir: b.dir, certDir: filepath.Join(b.dir, "certs")}
	b.grid = g
	for range decks {
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		g.decks = append(g.decks, addr)
	}
	var err error
	if g.process, err = b.launch("decks", b.Part("deck", "--listen", strings.Join(g.decks, ","))...); err != nil {
		return err
	}
	for _, addr := range g.decks {
		if err := g.process.await(ctx, listens(addr)); err != nil {
			return err
		}
	}
	return g.makeCertificate()
}

// makeCertificate makes a self-signed certificate for all hosts, with a key on P-256.
func (g *grid) makeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, DNSNames: []string{"*" + hostDomain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := os.Mkdir(g.certDir, 0o700); err != nil {
		return err
	}
	g.pem = filepath.Join(g.dir, "all.pem")
	for file, content := range map[string][]byte{
		filepath.Join(g.certDir, "default.crt"): crt, filepath.Join(g.certDir, "default.key"): private, g.pem: append(crt, private...),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return err
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	g.tls = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13} // each connection asks for its own host
	return nil
}

// direct is the way past all proxies.
func (g *grid) direct() *arm { return &arm{name: "no proxy", addr: g.decks[0], one: true} }

// find returns the path of a program; servers lie where root finds them. Empty: it is not here.
func find(name string) string {
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	return ""
}

// versionOf asks a program for its version.
func versionOf(argv ...string) string {
	out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput() //nolint:noctx // it only prints a line; whatever else comes says nothing
	if found := regexp.MustCompile(`\d+\.\d+(\.\d+)?`).Find(out); found != nil {
		return string(found)
	}
	return "unknown version"
}

// moduleVersion returns the version of a module that a Go program was built with.
func moduleVersion(program, module string) string {
	if info, err := buildinfo.ReadFile(program); err == nil {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "unknown version"
}

// startPeer starts a peer; nil without an error: it is not installed.
func (b *bench) startPeer(ctx context.Context, name string) (*arm, error) {
	program := find(name)
	if name == peerTraefik && b.Traefik != "" {
		program = b.Traefik
	}
	if program == "" {
		return nil, nil
	}
	a := &arm{name: name}
	var err error
	if a.addr, err = freeAddress(); err != nil {
		return nil, err
	}
	if name == peerHAProxy || name == peerNginx {
		if a.tlsAddr, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	var argv []string
	switch name {
	case peerHAProxy:
		a.version = versionOf(program, "-v")
		argv, err = b.haproxy(a)
	case peerNginx:
		a.version = versionOf(program, "-v")
		argv, err = b.nginx(a)
	case peerCaddy:
		a.version = versionOf(program, "version")
		a.one = true
		argv, err = b.caddy(a)
	default:
		a.version = moduleVersion(program, "github.com/traefik/traefik/v3")
		a.one = true
		argv, err = b.traefik(a)
	}
	if err != nil {
		return nil, err
	}
	if a.process, err = b.launch(name, append([]string{program}, argv...)...); err != nil {
		return nil, err
	}
	return a, a.process.await(ctx, listens(a.addr))
}

// write writes a file into the lab's folder and returns its path.
func (b *bench) write(name, content string) (string, error) {
	path := filepath.Join(b.dir, name)
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// hostMap writes all hosts with their decks, a line each.
func (b *bench) hostMap(name, line string) (string, error) {
	var out strings.Builder
	for i := range b.Hosts {
		fmt.Fprintf(&out, line, hostName(i), i%decks)
	}
	return b.write(name, out.String())
}
