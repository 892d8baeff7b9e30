// Package certs keeps the certificates that a router shows to clients: pairs of NAME.crt
// and NAME.key in one folder, chosen by the server name that a client asks for (SNI), and
// read again when they change without disturbing any connection.
//
// Names are those of the certificates themselves (their subject alternative names). An
// exact name goes before a wildcard, which stands for one label; a client that asks for
// neither gets the pair whose NAME is "default", or else the first pair by NAME. A name may
// have a pair for each kind of key: a client gets ECDSA if it can make use of that, else
// what it can, such as RSA. Where two pairs of one kind have the same name, the first by
// NAME has it.
//
// ca.crt without a key, which a Kubernetes secret of cert-manager's holds beside tls.crt and
// tls.key, is passed over.
package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Config says where certificates are, and how they are kept. The zero value of each field
// means what it says there.
type Config struct {
	// Folder holds the pairs NAME.crt and NAME.key, in PEM. Required.
	Folder string
	// Every is how often the folder is looked at. Default 5s.
	Every time.Duration
	// Logger takes what happens to pairs, but never what is in them; nil: nothing is logged.
	Logger *zap.Logger
}

const (
	defaultEvery = 5 * time.Second
	crtSuffix    = ".crt"
	keySuffix    = ".key"
	// authority is the NAME of a certificate that needs no key: it is who signed the others.
	authority = "ca"
	// defaultPair is the NAME of the pair for clients that ask for a name nobody has.
	defaultPair = "default"
)

// Problem is why a pair is not in use in its present form. Its last good form, if there
// was one since the start, serves on.
type Problem struct {
	// Name is the pair's; empty: the folder as a whole.
	Name string
	// Message says what is wrong. It holds names of files, and nothing from inside a key.
	Message string
}

// Store is the certificates in force. Make one with [Open]. Its methods may be called at
// once from any goroutine.
type Store struct {
	cfg     Config
	log     *zap.Logger
	now     func() time.Time
	config  *tls.Config
	tickets tickets

	current  atomic.Pointer[index]
	reloads  atomic.Uint64
	failures atomic.Uint64

	mu       sync.Mutex // held to look at the folder, never by handshakes
	pairs    map[string]*pair
	problems map[string]string // by the pair's NAME
}

// Open reads the folder. It fails where no pair in it can be used.
func Open(cfg Config) (*Store, error) { return open(cfg, time.Now) }

func open(cfg Config, now func() time.Time) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	cfg.Every = cmp.Or(cfg.Every, defaultEvery)
	s := &Store{cfg: cfg, log: cfg.Logger, now: now, pairs: map[string]*pair{}, problems: map[string]string{}}
	if _, err := os.ReadDir(cfg.Folder); err != nil {
		return nil, fmt.Errorf("the folder of certificates cannot be read: %w", err)
	}
	s.Reload()
	if s.current.Load() == nil {
		err := fmt.Errorf("no certificate in %s can be used; put NAME%s and NAME%s there, in PEM", cfg.Folder, crtSuffix, keySuffix)
		for _, p := range s.Problems() {
			if p.Name != "" {
				err = errors.Join(err, errors.New(p.Message))
			}
		}
		return nil, err
	}
	s.config = &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		// Of TLS 1.2 what keeps past traffic secret and needs no padding; 1.3 has nothing else.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.current.Load().lookup(hello.ServerName).pick(hello), nil
		},
	}
	s.tickets.rotate(s.config, now())
	return s, nil
}

// TLSConfig returns how to speak TLS to clients: version 1.2 or later, HTTP/1.1 alone. It is
// always the same one and follows the folder. It must not be changed, and not be cloned: a
// clone would keep the keys of session tickets that it was made with.
func (s *Store) TLSConfig() *tls.Config { return s.config }

// Run looks at the folder again and again, and changes the keys of session tickets once in
// 24 hours, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.tickets.rotate(s.config, s.now())
			s.look(false)
		}
	}
}

// Reload reads every pair now, changed or not. Handshakes under way end with what they have
// begun with, connections stay.
func (s *Store) Reload() { s.look(true) }

// Problems returns what is wrong at the moment, in the order of names.
func (s *Store) Problems() []Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Problem, 0, len(s.problems))
	for _, name := range slices.Sorted(maps.Keys(s.problems)) {
		all = append(all, Problem{name, s.problems[name]})
	}
	return all
}

// look brings the store up to what the folder holds. all says to read even what has not
// changed.
func (s *Store) look(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, err := s.list()
	if err != nil {
		s.problem("", fmt.Errorf("the folder of certificates cannot be read, the last ones serve on: %w", err))
		return
	}
	next, changed := make(map[string]*pair, len(names)), s.current.Load() == nil
	for _, name := range names {
		before := s.pairs[name]
		p, err := s.read(name, before, all)
		s.problem(name, err)
		if err != nil {
			p = before
		}
		if p != nil {
			next[name] = p
		}
		changed = changed || p != before
	}
	for name := range s.problems {
		if name != "" && !slices.Contains(names, name) {
			delete(s.problems, name) // the pair is gone, and its problem with it
		}
	}
	for name := range s.pairs {
		changed = changed || next[name] == nil
	}
	if len(next) == 0 {
		s.problem("", fmt.Errorf("the folder %s holds no pair of certificate and key, the last ones serve on", s.cfg.Folder))
		return
	}
	s.problem("", nil)
	if !changed {
		return
	}
	s.pairs = next
	s.current.Store(newIndex(next))
	s.reloads.Add(1)
	s.log.Info("certificates are in force", zap.Strings("pairs", slices.Sorted(maps.Keys(next))))
}

// list returns the NAMEs in the folder, in order, whole pairs or not.
func (s *Store) list() ([]string, error) {
	entries, err := os.ReadDir(s.cfg.Folder)
	if err != nil {
		return nil, err
	}
	var names []string
	keyOfCA := slices.ContainsFunc(entries, func(entry os.DirEntry) bool { return entry.Name() == authority+keySuffix })
	for _, entry := range entries {
		if entry.Name() == authority+crtSuffix && !keyOfCA {
			continue
		}
		name, ok := strings.CutSuffix(entry.Name(), crtSuffix)
		if !ok {
			name, ok = strings.CutSuffix(entry.Name(), keySuffix)
		}
		if ok {
			names = append(names, strings.ToValidUTF8(name, "?")) // it becomes a label; as such it is found no more, and told of
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// problem notes what is wrong with a pair; nil: nothing any more. It is logged and counted
// when it is new, and not at each look.
func (s *Store) problem(name string, err error) {
	if err == nil {
		if _, had := s.problems[name]; had {
			delete(s.problems, name)
			s.log.Info("a certificate is in order again", zap.String("pair", name))
		}
		return
	}
	if s.problems[name] == err.Error() {
		return
	}
	s.problems[name] = err.Error()
	s.failures.Add(1)
	s.log.Warn("a certificate cannot be used", zap.String("pair", name), zap.String("folder", s.cfg.Folder), zap.Error(err))
}
