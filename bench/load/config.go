package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Arrivals say how the requests of an open loop are spread over time.
type Arrivals string

// The kinds of arrivals.
const (
	// Constant: one request follows another after 1/rate.
	Constant Arrivals = "constant"
	// Poisson: the pauses are drawn from an exponential distribution, as independent
	// clients make them.
	Poisson Arrivals = "poisson"
)

// Bounds of a [Config].
const (
	MostConnections = 100_000
	MostRate        = 5e6 // requests a second
	MostBody        = 1 << 40
	MostMessage     = 1 << 16 // bytes of a WebSocket message
)

// Config says what load to make. Fields without a remark may be zero.
type Config struct {
	// Addr is the TCP address that all connections go to. Required.
	Addr string
	// TLS, if not nil, is used on each connection. Without a ServerName each handshake
	// asks for the host of the connection's first request.
	TLS *tls.Config
	// Connections is how many are open at once, 1 to [MostConnections].
	Connections int
	// PerConnection is how many requests a connection serves before the next one is made;
	// 0: no bound. At 1 each request makes its own.
	PerConnection int

	// Rate is how many requests a second are due, of all connections together; 0: closed loop.
	Rate float64
	// Arrivals say when they are due. Empty: [Constant].
	Arrivals Arrivals
	// Warmup is how long load is made before anything is counted.
	Warmup time.Duration
	// Duration is how long it is counted then. It or Requests is required.
	Duration time.Duration
	// Requests ends the run after so many counted requests; 0: no bound.
	Requests int64
	// Timeout bounds a connection's making and each request. 0: 10 s.
	Timeout time.Duration
	// Seed makes a run repeatable: hosts, keys and arrivals are drawn from it.
	Seed uint64

	// Method and Path begin each request. Empty: GET (POST with a body) and /.
	Method, Path string
	// Hosts are the values of the Host field. Required.
	Hosts Names
	// HostPerConnection lets all requests of a connection ask for the same host, as clients do.
	HostPerConnection bool
	// KeyHeader is a field that carries one of Keys in each request; empty: none.
	KeyHeader string
	Keys      Names
	// Headers are further field lines, such as "Accept: */*".
	Headers []string

	// BodyBytes is the size of each request's body; 0: no body.
	BodyBytes int64
	// Chunked sends the body in chunks of 16 KiB in place of a Content-Length.
	Chunked bool
	// ReadRate and WriteRate are how many bytes a second a connection reads of an answer's
	// body, and writes of a request's, at most: slow clients. 0: no bound.
	ReadRate, WriteRate int64

	// MessageBytes, if not 0, upgrades each connection to WebSocket (RFC 6455), where
	// messages of that size, at most [MostMessage], are sent and wanted back. A message then
	// counts as a request.
	MessageBytes int

	// Expect is what every answer must be like.
	Expect Expect
	// Progress, if not nil, is called every second from a goroutine of its own.
	Progress func(Progress)
}

// Expect says what is right. An answer that is not counts as an error of kind "wrong ...".
type Expect struct {
	// Status is the answer's status; 0: 200, or 101 for WebSocket.
	Status int
	// Header and Values: the field of that name must have the value that belongs to the
	// request's host: Values[number of the host modulo their number]. Empty: not checked.
	Header string
	Values []string
	// BodyBytes is the size of the body, and BodySum its [Sum]; both are checked if Body is set.
	Body      bool
	BodyBytes int64
	BodySum   uint32
	// ReceivedHeader names a field in which the server tells the size and the [Sum] of the
	// body that it received, as "SIZE-SUM" in decimal and 8 hexadecimal digits. Empty: not checked.
	ReceivedHeader string
}

// Progress is how a run does.
type Progress struct {
	// Elapsed is the time since counting began; negative while warming up.
	Elapsed time.Duration
	// Requests and Errors are all that were counted so far, Rate the answers a second since
	// the last call.
	Requests, Errors int64
	Rate             float64
	// P50 and P99 are latencies since counting began.
	P50, P99 time.Duration
}

// Check says what is wrong with a configuration, and fills in defaults.
func (c *Config) Check() error {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Arrivals == "" {
		c.Arrivals = Constant
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.Method == "" {
		c.Method = "GET"
		if c.BodyBytes > 0 {
			c.Method = "POST"
		}
	}
	if c.Expect.Status == 0 {
		c.Expect.Status = 200
	}
	switch {
	case c.Addr == "":
		return errors.New("no address to send to")
	case c.Connections < 1 || c.Connections > MostConnections:
		return fmt.Errorf("there can be 1 to %d connections, not %d", MostConnections, c.Connections)
	case c.Rate < 0 || c.Rate > MostRate:
		return fmt.Errorf("a rate of %g requests a second is not between 0 and %g", c.Rate, MostRate)
	case c.Arrivals != Constant && c.Arrivals != Poisson:
		return fmt.Errorf("arrivals are %s or %s, not %q", Constant, Poisson, c.Arrivals)
	case c.Duration <= 0 && c.Requests <= 0:
		return errors.New("neither a duration nor a number of requests: the run would not end")
	case c.Duration < 0 || c.Warmup < 0 || c.Timeout < 0 || c.Requests < 0 || c.PerConnection < 0 || c.ReadRate < 0 || c.WriteRate < 0:
		return errors.New("durations, numbers and rates cannot be negative")
	case c.BodyBytes < 0 || c.BodyBytes > MostBody:
		return fmt.Errorf("a body of %d bytes is not between 0 and %d", c.BodyBytes, int64(MostBody))
	case c.MessageBytes < 0 || c.MessageBytes > MostMessage:
		return fmt.Errorf("a message of %d bytes is not between 0 and %d", c.MessageBytes, MostMessage)
	case c.MessageBytes > 0 && c.BodyBytes > 0:
		return errors.New("a WebSocket has messages, and no body")
	case c.Path[0] != '/' || strings.ContainsAny(c.Path, " \r\n"):
		return fmt.Errorf("the path %q does not begin with a slash, or holds a space", c.Path)
	case c.KeyHeader != "" && c.Keys.Count() == 0:
		return fmt.Errorf("no keys for the header %s", c.KeyHeader)
	case c.Hosts.Count() == 0:
		return errors.New("no hosts to ask for")
	}
	for _, line := range c.Headers {
		if name, _, ok := strings.Cut(line, ":"); !ok || name == "" || strings.ContainsAny(line, "\r\n") || strings.ContainsAny(name, " \t") {
			return fmt.Errorf("%q is no header line; write NAME: VALUE", line)
		}
	}
	return nil
}
