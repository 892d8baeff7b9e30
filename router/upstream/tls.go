package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/discovery/files"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

const (
	// tlsFilesEvery is how often the files of a deck's TLS are looked at, at most.
	tlsFilesEvery = 10 * time.Second
	// tlsSessions is how many sessions with a deck are kept to resume.
	tlsSessions = 64
	// maxPEMBytes bounds a file of certificates or a key.
	maxPEMBytes = 1 << 20
)

// identity is how a router presents itself to a deck and what it holds the deck to.
// Connections of one identity are never used for another. The zero value: plain.
type identity struct {
	routing.DeckTLS
	given bool
}

// identityOf returns the TLS identity of a deck. The server's name is the deck's domain
// unless another is given.
func identityOf(deck *routing.CompiledDeck) identity {
	if deck.TLS == nil {
		return identity{}
	}
	id := identity{*deck.TLS, true}
	if id.ServerName == "" {
		id.ServerName = deck.Domain
	}
	return id
}

// tlsFiles makes the configuration of TLS towards a deck out of its files, again when these
// have changed. All methods may be called at once from any goroutine.
type tlsFiles struct {
	id     identity
	log    *zap.Logger
	mu     sync.Mutex
	looked time.Time
	stamps []fileStamp
	config *tls.Config
	err    error
}

// fileStamp tells whether a file has changed.
type fileStamp struct {
	size int64
	at   time.Time
}

// get returns the configuration; an error says that a file cannot be used. It reads files
// every ten seconds at most, and only when a connection is made.
func (d *tlsFiles) get(now time.Time) (*tls.Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.looked.IsZero() && now.Sub(d.looked) < tlsFilesEvery {
		return d.config, d.err
	}
	d.looked = now
	stamps := d.stamp()
	if d.config != nil && slices.Equal(stamps, d.stamps) {
		return d.config, d.err
	}
	config, err := d.load()
	switch {
	case err == nil:
		d.config, d.stamps, d.err = config, stamps, nil
	case d.config != nil: // what was good goes on
		d.log.Error("the files of a deck's tls cannot be used; their last good form stays", zap.Error(err))
	default:
		if d.err == nil || d.err.Error() != err.Error() {
			d.log.Error("the files of a deck's tls cannot be used; the deck cannot be reached until they can", zap.Error(err))
		}
		d.err = err
	}
	return d.config, d.err
}

func (d *tlsFiles) stamp() []fileStamp {
	paths := []string{d.id.CAFile, d.id.CertFile, d.id.KeyFile}
	stamps := make([]fileStamp, 0, len(paths))
	for _, path := range paths {
		stamp := fileStamp{size: -1}
		if info, err := os.Stat(path); err == nil {
			stamp = fileStamp{info.Size(), info.ModTime()}
		}
		stamps = append(stamps, stamp)
	}
	return stamps
}

func (d *tlsFiles) load() (*tls.Config, error) {
	config := &tls.Config{
		ServerName: d.id.ServerName, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions),
	}
	if d.id.CAFile != "" {
		pem, err := files.Read(d.id.CAFile, maxPEMBytes)
		if err != nil {
			return nil, fmt.Errorf("caFile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("caFile: " + d.id.CAFile + " holds no certificate in PEM")
		}
	}
	if d.id.CertFile != "" {
		cert, err := files.ReadPair(d.id.CertFile, d.id.KeyFile, maxPEMBytes)
		if err != nil {
			return nil, fmt.Errorf("certFile and keyFile: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

// secureBy puts TLS on a connection to a deck, until the deadline.
func (c *Conn) secureBy(files *tlsFiles, now, deadline time.Time) error {
	config, err := files.get(now)
	if err != nil {
		return &tlsError{files: true, err: err}
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	under := &strictEnd{TCPConn: c.TCP}
	conn := tls.Client(under, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return &tlsError{err: err}
	}
	under.agreed = true
	c.Conn, c.Secure = conn, true
	return nil
}

// ErrNoCloseNotify is the end of a TCP connection under TLS that no close_notify announced.
var ErrNoCloseNotify = errors.New("the connection ended without TLS's close_notify")

// strictEnd is a connection that TLS is spoken over, whose end must be announced. Package crypto/tls takes an end of it between two records
// for a proper one, so that anybody on the way, or a deck that ends, could cut an answer whose end
// is that of the connection, and it would look whole (RFC 9112 9.8).
type strictEnd struct {
	*net.TCPConn
	agreed bool // the handshake is over
}

// Read implements [net.Conn].
func (s *strictEnd) Read(p []byte) (int, error) {
	n, err := s.TCPConn.Read(p)
	if err == io.EOF && s.agreed { //nolint:errorlint // as package net gives it
		err = ErrNoCloseNotify
	}
	return n, err
}

// idling finds out what an idle connection is doing. Under TLS what was received may wait
// already behind the socket, where only a read can find it.
func (c *Conn) idling() wire.Silence {
	found := c.LookAt()
	if found != wire.Quiet || !c.Secure {
		return found
	}
	var one [1]byte
	if c.TCP.SetReadDeadline(wire.LongAgo) != nil {
		return wire.Shut
	}
	n, err := c.Conn.Read(one[:])
	switch {
	case n > 0:
		return wire.Speaks
	case !errors.Is(err, os.ErrDeadlineExceeded), c.TCP.SetReadDeadline(time.Time{}) != nil:
		return wire.Shut
	}
	return wire.Quiet
}
