package main

import (
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"gridrouter.io/bench/testkit"
)

// believes says, in a process of its own, whether a certificate of a public authority is believed.
const believes = "GRIDROUTER_TEST_BELIEVES"

var errNoRoot = errors.New("no public authority is believed")

// Whom a process believes is settled once, so each case is a process of its own.
func TestPublicAuthoritiesAreKnownWhereTheSystemHasNone(t *testing.T) {
	if os.Getenv(believes) != "" {
		if err := believeAny(); err != nil {
			t.Fatal(err)
		}
		return
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	pair := testkit.NewAuthority(t, "of the company").Issue("deck.example")
	own := filepath.Join(t.TempDir(), "own.pem")
	pair.Install(t, own, filepath.Join(t.TempDir(), "own.key"))
	for _, c := range []struct {
		what, file string
		want       bool
	}{
		{"an image without any", nowhere, true},
		{"a machine with those of its company alone", own, false},
	} {
		command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		command.Env = append(os.Environ(), believes+"=yes", "SSL_CERT_FILE="+c.file, "SSL_CERT_DIR="+nowhere)
		if out, err := command.CombinedOutput(); (err == nil) != c.want {
			t.Errorf("%s: public authorities are believed: %v; want %v\n%s", c.what, err == nil, c.want, out)
		}
	}
}

// believeAny looks for a public authority that is believed, as the signer of a server's certificate.
func believeAny() error {
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return err
		}
		if _, err := certificate.Verify(x509.VerifyOptions{}); err == nil {
			return nil
		}
	}
	return errNoRoot
}
