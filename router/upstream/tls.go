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
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/discovery/files"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

const (
	// tlsFilesEvery is how often the files of a deck's TLS are looked at.
	tlsFilesEvery = 8 * time.Second
	// tlsFilesTurns is how many decks' files are looked at at a time.
	tlsFilesTurns = 64
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
// have changed. The files are looked at in the background: one on a disk that does not answer makes no
// connection wait, but for the first. All methods may be called at once from any goroutine.
type tlsFiles struct {
	id    identity
	log   *zap.Logger
	turns chan struct{} // has room for as many looks as there may be at a time

	looking atomic.Bool              // a look is under way, which alone has what follows it
	looked  atomic.Int64             // when one began last
	state   atomic.Pointer[tlsState] // nil: no look has ended yet
	first   chan struct{}            // closed when one has

	stamps []fileStamp // of what the configuration was made of
	told   string      // what was logged last
}

// tlsState is what the files came to: a configuration, or why there is none.
type tlsState struct {
	config *tls.Config
	err    error
}

// fileStamp tells whether a file has changed.
type fileStamp struct {
	size int64
	at   time.Time
}

// newTLSFiles begins to look at the files. turns bounds how many are looked at at a time, each of
// which takes a thread of the system where its disk does not answer.
func newTLSFiles(id identity, turns chan struct{}, log *zap.Logger, now int64) *tlsFiles {
	d := &tlsFiles{id: id, log: log, turns: turns, first: make(chan struct{})}
	d.begin(now)
	return d
}

// refresh begins a look at the files where the last one began long enough ago, and has ended.
func (d *tlsFiles) refresh(now int64) {
	if now-d.looked.Load() >= int64(tlsFilesEvery) {
		d.begin(now)
	}
}

func (d *tlsFiles) begin(now int64) {
	if !d.looking.CompareAndSwap(false, true) {
		return
	}
	d.looked.Store(now)
	go func() {
		d.turns <- struct{}{}
		d.look()
		<-d.turns
		d.looking.Store(false)
	}()
}

// errTLSFilesUnread is why there is no connection before the first look at the files has ended.
var errTLSFilesUnread = errors.New("the files of its tls have not been read yet: the disk that they are on does not answer")

// get returns the configuration; an error says that a file cannot be used. It waits for the first look
// at the files, until the deadline, and for no other.
func (d *tlsFiles) get(deadline time.Time) (*tls.Config, error) {
	state := d.state.Load()
	if state == nil {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		select {
		case <-d.first:
			state = d.state.Load()
		case <-timer.C:
			return nil, errTLSFilesUnread
		}
	}
	return state.config, state.err
}

// look reads the files if they have changed. What was good goes on where they cannot be used.
func (d *tlsFiles) look() {
	before := d.state.Load()
	stamps := d.stamp()
	if before != nil && before.config != nil && slices.Equal(stamps, d.stamps) {
		return
	}
	config, err := d.load()
	switch {
	case err == nil:
		d.state.Store(&tlsState{config: config})
		d.stamps, d.told = stamps, ""
	case before != nil && before.config != nil:
		d.logState("the files of a deck's tls cannot be used; their last good form stays", err)
	default:
		d.state.Store(&tlsState{err: err})
		d.logState("the files of a deck's tls cannot be used; the deck cannot be reached until they can", err)
	}
	if before == nil {
		close(d.first)
	}
}

// logState logs what is wrong, once.
func (d *tlsFiles) logState(message string, err error) {
	if d.told != err.Error() {
		d.told = err.Error()
		d.log.Error(message, zap.Error(err))
	}
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
func (c *Conn) secureBy(files *tlsFiles, deadline time.Time) error {
	config, err := files.get(deadline)
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
	if err == io.EOF && s.agreed { //nolint:errorlint // package net returns this error unwrapped
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
