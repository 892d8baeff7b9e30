package main

import (
	"context"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/files"
	"gridrouter.io/gslb"
	"gridrouter.io/router"
)

// serveFlags are the flags of "gridrouter serve".
type serveFlags struct {
	source sourceFlags

	listen, listenTLS     []string
	tlsCert               string
	admin, adminTokenFile string
	health                string
	snapshot              string
	pinCache              int
	gslb, resolver        []string
	dnsTimeout            time.Duration
	trustedProxies        []string
	proxyProtocol         string
	halfClose             string
	clientConnections     int
	connectionsPerAddress int
	patience              router.ClientTimeouts
	routerID              string
	drainDelay, drainWait time.Duration
	logLevel, accessLog   string
	accessLogSample       float64
	proxies               []netip.Prefix // of trustedProxies
	adminToken            string         // of adminTokenFile
}

// newServeCommand returns "gridrouter serve".
func newServeCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Relay requests to the decks that own them",
		Long: `serve is the router itself: it takes HTTP requests, decides by the documents which deck owns each,
and relays it there.

It follows the documents in etcd (--etcd), or in a folder of files (--routes), and puts changes in
force at once. While the source is away it goes on with what it has, and what it has it keeps in a
file (--snapshot), from which it starts if the source is away then.

With --listen-tls it takes TLS 1.2 and 1.3, and HTTP/1.1 on it; HTTP/2 is not offered yet. The folder
--tls-cert holds pairs NAME.crt and NAME.key; the name that a client gives (SNI) chooses among them,
and the pair "default", else the first by name, serves where none fits. A name may have a pair for each
kind of key; clients get ECDSA if they can use it, else RSA. ca.crt without a key is passed over. Changed
pairs are put in force within seconds.

SIGTERM, SIGINT and POST /drain drain it: it is not ready at once; for --drain-delay everything is
served, with Connection: close; then the listeners close, and what is in flight may take until
--drain-timeout; the exit status is 0. A second signal ends it at once, whatever it waits for: requests
in flight are cut, the last lines of the access log may be lost, and the exit status is 1. Before the
router has started, the first signal ends it, with 0. SIGHUP opens the access log anew, reads the
certificates again, and the log level.

Under systemd (Type=notify) it says READY=1 when it is ready for the first time, as /readyz does, and
STOPPING=1 when draining begins; $NOTIFY_SOCKET says where.`,
		Example: `  gridrouter serve --routes deploy/samples --listen 127.0.0.1:8080
  gridrouter serve --etcd http://127.0.0.1:2379 --gslb 10.0.0.53 --health :9902`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return serve(cmd.Context(), f, rereadLogLevel(os.Args[1:]))
		},
	}
	f.register(cmd.Flags())
	return cmd
}

func (f *serveFlags) register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.listen, "listen", []string{":8080"}, "`ADDR` (IP:port, or :port for all addresses) to take requests at, repeatable; port 0: the system chooses")
	fs.StringSliceVar(&f.listenTLS, "listen-tls", nil, "`ADDR` to take requests over TLS at, repeatable (default none)")
	fs.StringVar(&f.tlsCert, "tls-cert", "", "`DIR` of certificates NAME.crt with their keys NAME.key (default none)")
	fs.StringVar(&f.admin, "admin", "127.0.0.1:9901", "`ADDR` of the admin endpoints; another than a loopback address needs --admin-token-file")
	fs.StringVar(&f.adminTokenFile, "admin-token-file", "", "`FILE` that holds the bearer token for the admin endpoints (default none)")
	fs.StringVar(&f.health, "health", "", "`ADDR` that answers only GET /readyz and /healthz, for LVS and probes (default none)")
	f.source.register(fs)
	fs.StringVar(&f.snapshot, "snapshot", "", "`FILE` of the local last-good snapshot, from which the router starts while its source is away, or off\n"+
		"(default gridrouter/<router-id>.snap in $STATE_DIRECTORY, else $XDG_STATE_HOME, else /var/lib)")
	fs.IntVar(&f.pinCache, "pin-cache", defaultPinCache, "how many pins, `ENTRIES`, are remembered for tenants with \"pins: cached\"; one takes a few hundred bytes, at most 2 KiB")
	fs.StringSliceVar(&f.gslb, "gslb", nil, "DNS servers `ADDR` (IP or IP:port), separated by commas, that resolve decks on the mesh (default the system's)")
	fs.StringSliceVar(&f.resolver, "resolver", nil, "DNS servers `ADDR` that resolve names among direct addresses (default those of /etc/resolv.conf);\n"+
		"/etc/hosts is not read: of names but localhost DNS alone decides")
	fs.DurationVar(&f.dnsTimeout, "dns-timeout", gslb.DefaultTryTimeout, "how long one of these servers may take over one question, before the next is asked;\n"+
		"where all were silent the first is asked once more, and may take five times as long")
	fs.StringSliceVar(&f.trustedProxies, "trusted-proxies", nil,
		"peers, as `CIDR`s, whose X-Forwarded-*, Forwarded, X-Request-Id and traceparent are believed (default none);\n"+
			"where X-Forwarded-For and Forwarded disagree the former is: a proxy that writes only Forwarded must remove it")
	fs.StringVar(&f.proxyProtocol, "proxy-protocol", "off", "on: trusted peers must speak the PROXY protocol, version 1 or 2; a header may have as many bytes as its version can say,\n"+
		"107 and 65551, of which at most 4096 are held; `on|off`")
	fs.StringVar(&f.halfClose, "client-half-close", "departs", "what a client means that ends its direction of the connection behind its request, `departs|served`:\n"+
		"departs: once the deck has been silent for half a second it counts as gone, and the deck's work is cancelled;\n"+
		"served: it gets its answer, and one that is gone is noticed when something is sent to it")
	for _, wait := range f.waits() {
		fs.DurationVar(wait.value, wait.flag, wait.usual, wait.help)
	}
	fs.StringVar(&f.routerID, "router-id", "", "`NAME` of this router, unlike any other's (default the host's name and the first --listen port)")
	fs.DurationVar(&f.drainDelay, "drain-delay", 5*time.Second, "how long a draining router serves everything, for who sends requests to notice that it is not ready")
	fs.DurationVar(&f.drainWait, "drain-timeout", 30*time.Second, "how long requests in flight may then take")
	registerLogLevel(fs, &f.logLevel)
	fs.StringVar(&f.accessLog, "access-log", "stdout", "where a line of JSON for each request goes: `FILE`, which may be a named pipe, stdout or off")
	fs.Float64Var(&f.accessLogSample, "access-log-sample", 1, "share of requests that get a line in the access log, `RATE` from 0 to 1")
	fs.IntVar(&f.connectionsPerAddress, "client-connections-per-address", 0, "how many of these one address may have, `COUNT`, of IPv6 one /64; trusted proxies may have all\n"+
		"(default half of --client-connections)")
	fs.IntVar(&f.clientConnections, "client-connections", 0, "how many connections from clients may be open, `COUNT`; for one more, the one whose client says nothing for longest\n"+
		"is closed, if that is half a second or more (two seconds within a body); else it waits in the system's queue\n"+
		"(default three quarters of the descriptors that the process may have)")
}

// wait is a flag that bounds how long a client may take.
type wait struct {
	flag  string
	value *time.Duration
	usual time.Duration
	help  string
}

func (f *serveFlags) waits() []wait {
	return []wait{
		{"client-head-timeout", &f.patience.Head, 10 * time.Second, "how long the head of a request may take, PROXY header and TLS handshake included"},
		{"client-idle-timeout", &f.patience.Idle, 75 * time.Second, "how long a connection may be idle between two requests"},
		{"client-body-timeout", &f.patience.Body, 30 * time.Second, "how long a body may stand still; each KiB that comes gives a second of it back"},
		{"client-answer-timeout", &f.patience.Write, time.Minute, "how long a client may take for a piece of its answer, at most 64 KiB"},
		{"continue-timeout", &f.patience.Continue, time.Second, "how long the deck of a client that waits for 100 (Continue) may be silent before the router says it"},
		{"tunnel-idle-timeout", &f.patience.Tunnel, time.Hour, "how long nothing may come through an upgraded connection, such as a WebSocket"},
	}
}

// check refuses what cannot work, before anything is opened.
func (f *serveFlags) check() error {
	if len(f.listen)+len(f.listenTLS) == 0 {
		return flags.Usagef("--listen: there is no address; write IP:port, or :port for all addresses")
	}
	for _, address := range f.listen {
		if err := checkListenAddr("listen", address); err != nil {
			return err
		}
	}
	if err := f.checkTLS(); err != nil {
		return err
	}
	if err := checkListenAddr("admin", f.admin); err != nil {
		return err
	}
	if f.health != "" {
		if err := checkListenAddr("health", f.health); err != nil {
			return err
		}
	}
	if err := flags.CheckSource(&f.source.etcd, f.source.routes); err != nil {
		return err
	}
	if err := f.checkNumbers(); err != nil {
		return err
	}
	if err := f.readTrustedProxies(); err != nil {
		return err
	}
	return f.readAdminToken()
}

// checkTLS refuses listeners for TLS without certificates, and the other way round.
func (f *serveFlags) checkTLS() error {
	for _, address := range f.listenTLS {
		if err := checkListenAddr("listen-tls", address); err != nil {
			return err
		}
	}
	switch {
	case len(f.listenTLS) > 0 && f.tlsCert == "":
		return flags.Usagef("--listen-tls: there are no certificates; name their folder with --tls-cert")
	case len(f.listenTLS) == 0 && f.tlsCert != "":
		return flags.Usagef("--tls-cert: nobody listens for TLS; give --listen-tls")
	}
	return nil
}

func (f *serveFlags) checkNumbers() error {
	for _, wait := range f.waits() {
		if *wait.value <= 0 {
			return flags.Usagef("--%s: %v is no time to wait; write more than 0, such as %v", wait.flag, *wait.value, wait.usual)
		}
	}
	switch {
	case f.connectionsPerAddress < 0:
		return flags.Usagef("--client-connections-per-address: %d is negative; write a number of connections, or 0 for the default", f.connectionsPerAddress)
	case f.clientConnections < 0:
		return flags.Usagef("--client-connections: %d is negative; write a number of connections, or 0 for the default", f.clientConnections)
	case f.proxyProtocol != "on" && f.proxyProtocol != "off":
		return flags.Usagef("--proxy-protocol: %q is neither on nor off", f.proxyProtocol)
	case f.halfClose != "departs" && f.halfClose != "served":
		return flags.Usagef("--client-half-close: %q is neither departs nor served", f.halfClose)
	case f.proxyProtocol == "on" && len(f.trustedProxies) == 0:
		return flags.Usagef("--proxy-protocol: nobody may speak it; name the balancers with --trusted-proxies")
	case f.dnsTimeout <= 0:
		return flags.Usagef("--dns-timeout: %v is no time to answer in; write more than 0, such as %v", f.dnsTimeout, gslb.DefaultTryTimeout)
	case f.pinCache < 1:
		return flags.Usagef("--pin-cache: %d is not a number of pins; write 1 or more, such as %d", f.pinCache, defaultPinCache)
	case f.drainDelay < 0:
		return flags.Usagef("--drain-delay: %v is negative; write 0s or more", f.drainDelay)
	case f.drainWait < 0:
		return flags.Usagef("--drain-timeout: %v is negative; write 0s or more", f.drainWait)
	case !(f.accessLogSample >= 0 && f.accessLogSample <= 1):
		return flags.Usagef("--access-log-sample: %v is not between 0 and 1; write a share, such as 0.01", f.accessLogSample)
	case f.accessLog == "":
		return flags.Usagef("--access-log: it is empty; write a file's name, stdout or off")
	case f.routerID != "" && !routerIDs().MatchString(f.routerID):
		return flags.Usagef("--router-id: %q is no name for a router; write at most 128 letters, digits and . _ : -", f.routerID)
	}
	return nil
}

// routerIDs matches what can be the last part of a key in etcd and the value of a field.
func routerIDs() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`) }

func (f *serveFlags) readTrustedProxies() error {
	for _, text := range f.trustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			if address, errAddress := netip.ParseAddr(text); errAddress == nil {
				prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
			}
		}
		if err != nil {
			return flags.Usagef("--trusted-proxies: %q is not a range of addresses; write CIDR, such as 10.0.0.0/8", text)
		}
		if prefix.Addr().Is4In6() {
			return flags.Usagef("--trusted-proxies: %q is IPv4 written as IPv6, which no peer's address is compared as; write the IPv4 range", text)
		}
		f.proxies = append(f.proxies, prefix.Masked())
	}
	return nil
}

const maxTokenBytes = 64 << 10

// readAdminToken reads the token, which an admin address that others can reach must have.
func (f *serveFlags) readAdminToken() error {
	if f.adminTokenFile == "" {
		if !isLoopback(f.admin) {
			return flags.Usagef("--admin: %s can be reached from other machines; give --admin-token-file, or listen at a loopback address such as 127.0.0.1:9901", f.admin)
		}
		return nil
	}
	text, err := files.ReadPiped(f.adminTokenFile, maxTokenBytes, pipePatience)
	if err != nil {
		return flags.Usagef("--admin-token-file: %w; name a file that can be read", err)
	}
	f.adminToken = strings.TrimSpace(string(text))
	if f.adminToken == "" || strings.ContainsAny(f.adminToken, " \t\r\n") {
		return flags.Usagef("--admin-token-file: %s does not hold one token; write a random text without spaces, on one line", f.adminTokenFile)
	}
	return nil
}

// isLoopback says whether only this machine can reach an address.
func isLoopback(address string) bool {
	host := address[:strings.LastIndexByte(address, ':')]
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// id returns the router's name.
func (f *serveFlags) id() (string, error) {
	if f.routerID != "" { // its form was checked with the other flags
		return f.routerID, nil
	}
	return processID("router-id", "", slices.Concat(f.listen, f.listenTLS)[0])
}

// processID returns the name of a process: the one that a flag gives, else the host's name and the
// port that it listens at.
func processID(flag, given, listen string) (string, error) {
	if given != "" {
		if !routerIDs().MatchString(given) {
			return "", flags.Usagef("--%s: %q is no name; write at most 128 letters, digits and . _ : -", flag, given)
		}
		return given, nil
	}
	host, err := os.Hostname()
	id := host + listen[strings.LastIndexByte(listen, ':'):]
	if err != nil || !routerIDs().MatchString(id) {
		return "", flags.Usagef("--%s: this host has no name that would do; give one", flag)
	}
	return id, nil
}

// rereadLogLevel returns a function that says which log level the command line, the
// environment and the configuration file give by now.
func rereadLogLevel(args []string) func(ctx context.Context) (string, error) {
	args = slices.Clone(args)
	return func(ctx context.Context) (level string, err error) {
		root := newRootCommand() //nolint:contextcheck // it is given the context when it runs
		again, _, err := root.Find(args)
		if err != nil {
			return "", err
		}
		again.RunE = func(cmd *cobra.Command, _ []string) error {
			level = cmd.Flags().Lookup("log-level").Value.String()
			return nil
		}
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
		return level, err
	}
}

// halfCloseMeans is what --client-half-close says.
func (f *serveFlags) halfCloseMeans() router.HalfClose {
	if f.halfClose == "served" {
		return router.HalfCloseServed
	}
	return router.HalfCloseDeparts
}
