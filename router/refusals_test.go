package router

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/lograte"
)

// refusedBy connects to addr, does what says, and waits until the router has closed.
func refusedBy(t *testing.T, addr string, says func(net.Conn)) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	says(conn)
	_, _ = io.Copy(io.Discard, conn) // until the end
}

func plainly(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

func handshaking(config *tls.Config) func(net.Conn) {
	return func(conn net.Conn) { _ = tls.Client(conn, config).Handshake() }
}

// toldOnce waits for the one line of a connection that was refused, and checks its
// reason and its count.
func toldOnce(t *testing.T, r *Router, logs *observer.ObservedLogs, why refusalReason, before uint64) {
	t.Helper()
	testkit.Eventually(t, why.String()+" is counted", func() bool { return r.refused.total[why].Load() == before+1 })
	if why == refusedClosed {
		return
	}
	testkit.Eventually(t, why.String()+" is told", func() bool {
		for _, line := range logs.FilterMessage("a connection was closed before a request").All() {
			fields := line.ContextMap()
			if fields["reason"] == why.String() && strings.HasPrefix(fields["peer"].(string), "127.0.0.1:") && fields["because"] != "" {
				return true
			}
		}
		return false
	})
}

func TestHandshakesThatFailAreToldApart(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	g, addr, trust := secureGrid(t, func(c *Config) { c.Logger = zap.New(core) })
	f := func(why refusalReason, says func(net.Conn)) {
		t.Helper()
		before := g.router.refused.total[why].Load()
		refusedBy(t, addr, says)
		toldOnce(t, g.router, logs, why, before)
	}
	client := func(change func(*tls.Config)) func(net.Conn) {
		config := &tls.Config{ServerName: "acme.test", RootCAs: trust}
		change(config)
		return handshaking(config)
	}
	f(refusedTLSVersion, client(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }))
	f(refusedTLSVersion, client(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }))
	f(refusedTLSCipher, client(func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	}))
	f(refusedTLSCipher, client(func(c *tls.Config) { // takes RSA alone, and there is ECDSA alone
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}))
	f(refusedTLSProtocol, client(func(c *tls.Config) { c.NextProtos = []string{"h2"} }))
	f(refusedTLSAlert, client(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }))
	f(refusedTLSAlert, client(func(c *tls.Config) { c.RootCAs, c.MaxVersion = x509.NewCertPool(), tls.VersionTLS12 }))
	f(refusedTLSAlert, client(func(c *tls.Config) { c.ServerName = "another.test" }))
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\n\r\n", "DELETE /x HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n"} {
		f(refusedPlainHTTP, plainly(request))
	}
	f(refusedNotTLS, plainly("SSH-2.0-x\r\n"))
	f(refusedNotTLS, plainly("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"))
	f(refusedClosed, func(conn net.Conn) { _ = conn.Close() })
	f(refusedClosed, func(conn net.Conn) { _, _ = io.WriteString(conn, "\x16\x03\x01"); _ = conn.Close() })
	g, addr, _ = secureGrid(t, func(c *Config) { c.Logger, c.ClientTimeouts.Head = zap.New(core), 100*time.Millisecond })
	f(refusedTLSTimeout, plainly("\x16\x03\x01"))
	f(refusedTLSTimeout, plainly(""))
}

func TestWhoSpeaksNoProxyIsTold(t *testing.T) {
	f := func(why refusalReason, trusted string, says func(net.Conn)) {
		t.Helper()
		core, logs := observer.New(zapcore.InfoLevel)
		g := newGrid(t, func(c *Config) {
			c.Logger, c.ClientTimeouts.Head, c.ProxyProtocol, c.TrustedProxies = zap.New(core), 100*time.Millisecond, true, prefixes(trusted)
			if why != refusedProxyTimeout {
				c.ClientTimeouts.Head = patience
			}
		})
		refusedBy(t, g.addr, says)
		toldOnce(t, g.router, logs, why, 0)
	}
	f(refusedUntrusted, "10.0.0.0/8", plainly("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"+get("/")))
	f(refusedProxyHeader, "127.0.0.0/8", plainly(get("/")))
	f(refusedProxyHeader, "127.0.0.0/8", plainly("PROXY TCP4 x y 1 2\r\n"))
	f(refusedProxyTimeout, "127.0.0.0/8", plainly("PROXY TCP4 "))
	f(refusedProxyTimeout, "127.0.0.0/8", plainly(""))
	f(refusedClosed, "127.0.0.0/8", func(conn net.Conn) { _ = conn.Close() })
	f(refusedProxyHeader, "127.0.0.0/8", func(conn net.Conn) { _, _ = io.WriteString(conn, "PROXY "); _ = conn.Close() })
}

func TestManyRefusedConnectionsDoNotFillTheLog(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	g := newGrid(t, func(c *Config) {
		c.Logger, c.ProxyProtocol, c.TrustedProxies = zap.New(core), true, prefixes("127.0.0.0/8")
	})
	begun := time.Now()
	const many = 50
	for range many {
		refusedBy(t, g.addr, plainly("\xff\xfe nobody's text"))
	}
	testkit.Eventually(t, "all are counted", func() bool { return g.router.refused.total[refusedProxyHeader].Load() == many })
	lines, told := logs.FilterMessage("a connection was closed before a request").All(), 0
	for _, line := range lines {
		told++
		if left, ok := line.ContextMap()["leftOut"].(int64); ok {
			told += int(left)
		}
	}
	if most := (int(time.Since(begun)/lograte.Every) + 1) * lograte.Lines; len(lines) > most || told > many {
		t.Errorf("%d lines, at most %d; they tell of %d of %d", len(lines), most, told, many)
	}
}
