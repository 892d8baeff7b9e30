package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/valyala/fasthttp"

	"gridrouter.io/cmd/flags"
)

// Bounds of what is taken of an admin listener's answer. The body of a stream has none.
const (
	maxAnswerHead = 64 << 10
	maxAnswerBody = 16 << 20
)

// chunked is the length that fasthttp gives a body that arrives in chunks.
const chunked = -1

// adminAddress is the admin listener of a router that runs.
type adminAddress struct {
	router, tokenFile string
}

func (a *adminAddress) register(fs *pflag.FlagSet, what string) {
	fs.StringVar(&a.router, "router", "", "admin `ADDRESS` of the router "+what+", such as 127.0.0.1:9901 (default none)")
	fs.StringVar(&a.tokenFile, "token-file", "", "`FILE` with the token for --router (default none)")
}

// call makes one call to an endpoint, and returns the body of its answer, all within timeout. A
// status other than 200 is an error that says why.
func (a *adminAddress) call(ctx context.Context, method, endpoint string, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, &noAnswerError{timeout})
	defer cancel()
	answer, err := a.send(ctx, method, endpoint)
	if err != nil {
		return nil, err
	}
	defer answer.close()
	return answer.readAll()
}

// stream makes one call to an endpoint whose answer must begin within timeout, and hands it to use,
// which may read its body for as long as it likes.
func (a *adminAddress) stream(ctx context.Context, method, endpoint string, timeout time.Duration, use func(*adminAnswer) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begins := time.AfterFunc(timeout, func() { cancel(&noAnswerError{timeout}) })
	defer begins.Stop()
	answer, err := a.send(ctx, method, endpoint)
	if err != nil {
		return err
	}
	defer answer.close()
	begins.Stop()
	return use(answer)
}

// noAnswerError is why a call was broken off that took too long.
type noAnswerError struct{ within time.Duration }

// Error implements error.
func (e *noAnswerError) Error() string { return fmt.Sprintf("no answer within %s", e.within) }

// send makes one call, which the end of ctx breaks off, whatever it waits for. It returns when the
// head of an answer 200 has arrived; the caller closes that answer.
func (a *adminAddress) send(ctx context.Context, method, endpoint string) (*adminAnswer, error) {
	base, err := a.base()
	if err != nil {
		return nil, err
	}
	request, err := a.request(base, method, endpoint)
	if err != nil {
		return nil, err
	}
	answer := &adminAnswer{ctx: ctx, host: base.Host, response: &fasthttp.Response{StreamBody: true}}
	client := &fasthttp.HostClient{
		Addr: fasthttp.AddMissingPort(base.Host, base.Scheme == "https"), Name: "gridctl",
		ReadBufferSize: maxAnswerHead, DisablePathNormalizing: true, MaxIdemponentCallAttempts: 1,
		DialTimeout: func(address string, _ time.Duration) (net.Conn, error) {
			return answer.dial(address, base.Scheme == "https")
		},
	}
	if err := client.Do(request, answer.response); err != nil {
		return nil, answer.failed(err)
	}
	if err := answer.refusal(a.tokenFile); err != nil {
		answer.close()
		return nil, err
	}
	return answer, nil
}

// base reads --router.
func (a *adminAddress) base() (*url.URL, error) {
	address := a.router
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.User != nil || base.Scheme != "http" && base.Scheme != "https" {
		return nil, flags.Usagef("--router: not the address of an admin listener; write HOST:PORT or http://HOST:PORT")
	}
	return base, nil
}

// request returns the request for an endpoint, with the token if there is one.
func (a *adminAddress) request(base *url.URL, method, endpoint string) (*fasthttp.Request, error) {
	path, query, _ := strings.Cut(endpoint, "?")
	at := base.JoinPath(path)
	at.Scheme = "http" // TLS is begun by dial, and is no matter of fasthttp's
	at.RawQuery = query
	request := &fasthttp.Request{}
	request.Header.SetMethod(method)
	request.SetRequestURI(at.String())
	request.SetConnectionClose()
	if a.tokenFile != "" {
		token, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return nil, flags.Usagef("--token-file: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	return request, nil
}

// adminAnswer is the answer of an admin listener, or the way to it.
type adminAnswer struct {
	ctx      context.Context //nolint:containedctx // of the one call that this is the answer to: its end breaks off the body
	host     string
	conn     *adminConn // nil: there was no connection yet
	response *fasthttp.Response
}

// dial connects to the listener. fasthttp knows deadlines, but no contexts: when ctx ends, the
// connection is closed, and with it ends whatever waits for it.
func (r *adminAnswer) dial(address string, https bool) (net.Conn, error) {
	dialer := interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}(&net.Dialer{})
	if https {
		dialer = &tls.Dialer{}
	}
	conn, err := dialer.DialContext(r.ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(r.ctx, func() { _ = conn.Close() })
	r.conn = &adminConn{Conn: conn}
	return r.conn, nil
}

// adminConn is a connection that remembers whether the other side ended it.
type adminConn struct {
	net.Conn
	ended bool
}

// Read implements [net.Conn].
func (c *adminConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}

func (r *adminAnswer) close() { _ = r.response.CloseBodyStream() } // only read

// header returns the value of a field, empty if there is none.
func (r *adminAnswer) header(name string) string { return string(r.response.Header.Peek(name)) }

// Read implements [io.Reader]: it reads the body, and fails if that ends too early.
func (r *adminAnswer) Read(p []byte) (int, error) {
	n, err := r.response.BodyStream().Read(p)
	if errors.Is(err, io.EOF) && r.conn.ended && r.response.Header.ContentLength() == chunked {
		err = io.ErrUnexpectedEOF // fasthttp takes a connection that ends between two chunks for the end of the body
	}
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return n, err
	case r.ctx.Err() != nil:
		return n, r.brokenOff()
	}
	return n, fmt.Errorf("the router at %s broke off its answer: %w", r.host, err)
}

func (r *adminAnswer) readAll() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxAnswerBody+1))
	if err == nil && len(body) > maxAnswerBody {
		err = fmt.Errorf("what answers at %s is not a router's admin listener: its answer has more than %d bytes", r.host, maxAnswerBody)
	}
	return body, err
}

// failed says why there is no answer that can be read.
func (r *adminAnswer) failed(err error) error {
	var untrusted *tls.CertificateVerificationError
	var network net.Error
	switch {
	case r.ctx.Err() != nil:
		return r.brokenOff()
	case errors.As(err, &untrusted):
		return fmt.Errorf("the certificate of the admin listener at %s is not trusted: %w", r.host, err)
	case r.conn == nil:
		return fmt.Errorf("the router's admin listener at %s does not answer; is it running? (%w)", r.host, err)
	case errors.Is(err, fasthttp.ErrConnectionClosed), errors.As(err, &network):
		return fmt.Errorf("the router's admin listener at %s closed the connection without an answer", r.host)
	}
	return fmt.Errorf("what answers at %s is not a router's admin listener: %w", r.host, err)
}

// brokenOff says why the call was broken off: by its time, or by who made it.
func (r *adminAnswer) brokenOff() error {
	var late *noAnswerError
	if cause := context.Cause(r.ctx); errors.As(cause, &late) {
		return fmt.Errorf("the router's admin listener at %s does not answer; is it running? (%w)", r.host, late)
	}
	return fmt.Errorf("stopped before the router at %s had answered: %w", r.host, context.Canceled)
}

// refusal says why a router refuses; nil if it does not.
func (r *adminAnswer) refusal(tokenFile string) error {
	status := r.response.StatusCode()
	if status == fasthttp.StatusOK {
		return nil
	}
	body, err := r.readAll()
	if err != nil {
		return err
	}
	switch status {
	case fasthttp.StatusUnauthorized:
		if tokenFile != "" {
			return fmt.Errorf("the router at %s refuses the token in %s; is it that of its --admin-token-file?", r.host, tokenFile)
		}
		return fmt.Errorf("the router at %s wants a token; give --token-file", r.host)
	case fasthttp.StatusForbidden, fasthttp.StatusNotFound, fasthttp.StatusConflict:
		return fmt.Errorf("the router at %s: %s", r.host, firstLine(body))
	case fasthttp.StatusBadRequest:
		return flags.Usagef("the router at %s: %s", r.host, firstLine(body))
	}
	return fmt.Errorf("the router at %s answers %d: %s", r.host, status, firstLine(body))
}
