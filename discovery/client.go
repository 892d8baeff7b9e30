package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"gridrouter.io/discovery/files"
)

// ClientConfig says how to reach etcd. Routers and command line tools use the
// same one; its fields are the --etcd flags.
type ClientConfig struct {
	// Endpoints are URLs, http:// or https:// alike for all, or host:port.
	// At least one.
	Endpoints []string
	// CertFile and KeyFile, both or none, are who we are to etcd. They are
	// read again at each TLS handshake, so that they can be renewed in place.
	CertFile, KeyFile string
	// CAFile holds the certificates that etcd's own is checked against; none:
	// the system's. It is read again at each TLS handshake; what is unreadable
	// then leaves the last good one in use.
	CAFile string
	// User and PasswordFile, both or none. The file is read again at each
	// login, without the line end; its content is never shown.
	User, PasswordFile string
	// DialTimeout bounds one attempt to connect, and a login. Default 5 s.
	DialTimeout time.Duration
	// Contact, if set, hears of every answer of etcd and of every call that got
	// none, and makes a lost connection be tried again at once when etcd has
	// answered another client of the same contact.
	Contact *Contact

	pace *backoff.Config // of attempts to connect; nil: that of dialOptions
}

const (
	defaultDialTimeout = 5 * time.Second
	// A peer that vanished without a word is noticed by data that nobody
	// acknowledges within pingTimeout; one that acknowledges but no longer
	// answers, within pingEvery + pingTimeout. gRPC allows no shorter period.
	pingEvery   = 10 * time.Second
	pingTimeout = 3 * time.Second
	// reconnectAtMost is the longest wait between two attempts to connect, give
	// or take a fifth. gRPC's own default, two minutes, would leave routers
	// behind long after etcd has come back; shorter waits would be a burden on
	// one that takes its time to start.
	reconnectAtMost = 2 * time.Second
	// unaryRetries is how often etcd's client repeats a read that found no
	// server: over all endpoints once or twice, then the caller must know.
	unaryRetries = 8
)

// NewClient makes a client of etcd; the caller closes it. It makes no contact:
// it works while etcd is absent, and a wrong password is told by the first
// call. The client's own messages go to logger (nil: nowhere) from level warn
// on, each at most once a minute.
func NewClient(cfg ClientConfig, logger *zap.Logger) (*clientv3.Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = defaultDialTimeout
	}
	secure, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		DialTimeout:          cfg.DialTimeout,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: pingTimeout,
		MaxUnaryRetries:      unaryRetries,
		TLS:                  secure,
		DialOptions:          cfg.dialOptions(secure),
		Logger:               quiet(logger),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd endpoints %s: %w", strings.Join(cfg.Endpoints, ","), err)
	}
	if cfg.Contact != nil {
		go cfg.Contact.watchConnection(client) // until it is closed
	}
	return client, nil
}

func (cfg ClientConfig) check() error {
	if len(cfg.Endpoints) == 0 {
		return errors.New("no etcd endpoint: give at least one with --etcd, such as http://127.0.0.1:2379")
	}
	for _, endpoint := range cfg.Endpoints {
		scheme, address, found := strings.Cut(endpoint, "://")
		if !found {
			scheme, address = "", endpoint
		}
		switch {
		case address == "":
			return fmt.Errorf("etcd endpoint %q has no address: write http://HOST:PORT or https://HOST:PORT", endpoint)
		case strings.ContainsAny(address, "@ \t"):
			return errors.New("an etcd endpoint holds a user or a blank: give the user with --etcd-user, and separate endpoints by commas alone")
		case found && scheme != "http" && scheme != "https":
			return fmt.Errorf("etcd endpoint %q: unknown scheme %q; use http:// or https://", endpoint, scheme)
		case strings.HasPrefix(endpoint, "https://") != strings.HasPrefix(cfg.Endpoints[0], "https://"):
			return fmt.Errorf("etcd endpoints %s: either all are https:// or none", strings.Join(cfg.Endpoints, ","))
		case scheme == "http" && (cfg.CertFile != "" || cfg.CAFile != ""):
			return fmt.Errorf("etcd endpoint %q is plain, but a certificate is given (--etcd-cert, --etcd-ca): use https://", endpoint)
		}
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return errors.New("etcd client certificate: --etcd-cert and --etcd-key go together, give both or none")
	}
	if (cfg.User == "") != (cfg.PasswordFile == "") {
		return errors.New("etcd login: --etcd-user and --etcd-password-file go together, give both or none")
	}
	if cfg.PasswordFile != "" {
		if _, err := readPassword(cfg.PasswordFile); err != nil {
			return err
		}
	}
	return nil
}

// tls gives the TLS settings as the files are now, or nil where only the
// endpoints' scheme counts.
func (cfg ClientConfig) tls() (*tls.Config, error) {
	if cfg.CertFile == "" && cfg.CAFile == "" {
		return nil, nil
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := files.Read(cfg.CAFile, maxPEMBytes)
		if err != nil {
			return nil, fmt.Errorf("etcd CA certificates (--etcd-ca): %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("etcd CA certificates (--etcd-ca): %s holds no PEM certificate", cfg.CAFile)
		}
	}
	if cfg.CertFile != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := files.ReadPair(cfg.CertFile, cfg.KeyFile, maxPEMBytes)
			return &pair, err
		}
		if _, err := load(nil); err != nil {
			return nil, fmt.Errorf("etcd client certificate (--etcd-cert, --etcd-key): %w", err)
		}
		secure.GetClientCertificate = load
	}
	return secure, nil
}

// renewed are gRPC's credentials with the TLS settings of the moment: all files
// are read again at each handshake. Where they do not read, the last settings
// that did are used.
type renewed struct {
	credentials.TransportCredentials
	cfg ClientConfig

	mu   sync.Mutex
	last *tls.Config
}

func renewing(cfg ClientConfig, first *tls.Config) *renewed {
	return &renewed{TransportCredentials: credentials.NewTLS(first), cfg: cfg, last: first}
}

// ClientHandshake implements [credentials.TransportCredentials].
func (r *renewed) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(r.settings()).ClientHandshake(ctx, authority, conn)
}

// Clone implements [credentials.TransportCredentials].
func (r *renewed) Clone() credentials.TransportCredentials { return renewing(r.cfg, r.settings()) }

func (r *renewed) settings() *tls.Config {
	secure, err := r.cfg.tls()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.last = secure
	}
	return r.last
}

func (cfg ClientConfig) dialOptions(secure *tls.Config) []grpc.DialOption {
	pace := backoff.Config{BaseDelay: firstWait, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectAtMost}
	if cfg.pace != nil {
		pace = *cfg.pace
	}
	options := []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: pace, MinConnectTimeout: cfg.DialTimeout}),
		grpc.WithChainUnaryInterceptor(failFast),
		grpc.WithChainStreamInterceptor(failFastList),
	}
	if secure != nil {
		options = append(options, grpc.WithTransportCredentials(renewing(cfg, secure)))
	}
	if cfg.User != "" {
		l := &login{user: cfg.User, passwordFile: cfg.PasswordFile, timeout: cfg.DialTimeout}
		options = append(options, grpc.WithChainUnaryInterceptor(l.unary), grpc.WithChainStreamInterceptor(l.stream))
	}
	if cfg.Contact != nil { // the innermost, next to what etcd itself says
		options = append(options, grpc.WithChainUnaryInterceptor(cfg.Contact.unary), grpc.WithChainStreamInterceptor(cfg.Contact.stream))
	}
	return options
}

// quiet keeps the etcd client from repeating itself: it warns of each single
// retry.
func quiet(logger *zap.Logger) *zap.Logger {
	if logger == nil {
		return zap.NewNop()
	}
	return logger.Named("etcd-client").WithOptions(zap.IncreaseLevel(zap.WarnLevel),
		zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0)
		}))
}

// failFast is a grpc.UnaryClientInterceptor that makes a call fail with the
// reason when etcd cannot be connected to. The etcd client's default is to
// wait for a connection until the deadline, and then to have no reason.
func failFast(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	return invoke(ctx, method, request, reply, conn, append(options, grpc.WaitForReady(false))...)
}

// failFastList is failFast for the streamed list. The other streams, of
// watches and leases, go on waiting: etcd's client would open them again and
// again.
func failFastList(ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	if method == pb.KV_RangeStream_FullMethodName {
		options = append(options, grpc.WaitForReady(false))
	}
	return open(ctx, description, conn, method, options...)
}
