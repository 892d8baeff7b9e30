package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gridrouter.io/discovery/files"
)

// maxFileBytes bounds a file of a pair. Chains have some KiB.
const maxFileBytes = 1 << 20

// pair is one certificate with its key, as it was read.
type pair struct {
	cert     tls.Certificate
	leaf     *x509.Certificate
	crt, key stamp
}

// stamp tells one state of a file from another.
type stamp struct {
	info os.FileInfo
}

func (s stamp) same(as stamp) bool {
	return os.SameFile(s.info, as.info) && s.info.Size() == as.info.Size() && s.info.ModTime().Equal(as.info.ModTime())
}

// read reads a pair, or returns before if that still holds. again says to read in any case;
// a pair that is what it was is before even then.
func (s *Store) read(name string, before *pair, again bool) (*pair, error) {
	crtPath, keyPath := filepath.Join(s.cfg.Folder, name+crtSuffix), filepath.Join(s.cfg.Folder, name+keySuffix)
	var p pair
	var err error
	if p.crt, err = stampOf(crtPath); err != nil {
		return nil, err
	}
	if p.key, err = stampOf(keyPath); err != nil {
		return nil, err
	}
	// What is read below is at least as new as the stamps: a change in between is found at
	// the next look.
	if before != nil && !again && p.crt.same(before.crt) && p.key.same(before.key) {
		return before, nil
	}
	crt, err := files.Read(crtPath, maxFileBytes)
	if err != nil {
		return nil, err
	}
	key, err := files.Read(keyPath, maxFileBytes)
	if err != nil {
		return nil, err
	}
	if p.cert, err = tls.X509KeyPair(crt, key); err != nil {
		return nil, fmt.Errorf("%s and %s are no pair: %w", crtPath, keyPath, err)
	}
	clear(key)
	if p.leaf = p.cert.Leaf; p.leaf == nil {
		return nil, errors.New(crtPath + " holds no certificate")
	}
	if before != nil && sameChain(before.cert.Certificate, p.cert.Certificate) {
		before.crt, before.key = p.crt, p.key // guarded by the store's lock; handshakes do not look at stamps
		return before, nil
	}
	return &p, nil
}

// sameChain says whether two chains are the same. Then the keys are as good as the same:
// each fits the first certificate.
func sameChain(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return stamp{}, err
	case !info.Mode().IsRegular():
		return stamp{}, fmt.Errorf("%s is no regular file", path)
	case info.Size() > maxFileBytes:
		return stamp{}, fmt.Errorf("%s has %d bytes; at most %d", path, info.Size(), maxFileBytes)
	}
	return stamp{info}, nil
}

// expiry is when the pair's certificate ends.
func (p *pair) expiry() time.Time { return p.leaf.NotAfter }
