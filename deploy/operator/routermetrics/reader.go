package routermetrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Target is a router whose metrics are read.
type Target struct {
	// Address is that of the admin endpoints, host:port.
	Address string
	// Token is the bearer token of the admin endpoints; empty: none is needed. It appears in no error.
	Token string
}

// The bounds of one read.
const (
	// readTimeout bounds a read from the connection to the last byte.
	readTimeout = 3 * time.Second
	// connectTimeout is shorter: who takes no connection within it has no room for requests either.
	connectTimeout = time.Second
	// mostBytes bounds the answer, unpacked. A deck takes about 500 bytes of it.
	mostBytes = 8 << 20
)

// Reader reads metrics over HTTP. It keeps connections open between reads. Its methods may be called at once.
type Reader struct{ client *http.Client }

// NewReader returns a reader. To be closed.
func NewReader() *Reader {
	return &Reader{client: &http.Client{
		Timeout: readTimeout,
		Transport: &http.Transport{ // no proxy: routers are near, and what lies between may not see tokens
			DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
			MaxIdleConnsPerHost:    1,
			MaxConnsPerHost:        2,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 32 << 10,
		},
		// A router has nothing to redirect. Who does is none, and may not lead the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes the connections that are kept open.
func (r *Reader) Close() { r.client.CloseIdleConnections() }

// Read reads a router's metrics. It takes at most 3 s, and less if ctx ends; 8 MiB of an answer are too many.
func (r *Reader) Read(ctx context.Context, from Target) (Sample, error) {
	if _, _, err := net.SplitHostPort(from.Address); err != nil {
		return Sample{}, fmt.Errorf("the address of a router must be host:port: %w", err)
	}
	// Only these are asked for: routers have many others of each deck.
	query := url.Values{"name[]": {requestsName, faultsName, durationsName, startedName, cpuName}}
	where := url.URL{Scheme: "http", Host: from.Address, Path: "/metrics", RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return Sample{}, err
	}
	if from.Token != "" {
		request.Header.Set("Authorization", "Bearer "+from.Token)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return Sample{}, fmt.Errorf("read metrics of %s: %w", from.Address, cause(err))
	}
	defer func() { _ = answer.Body.Close() }() // all that is wanted of it was read
	if answer.StatusCode != http.StatusOK {
		return Sample{}, fmt.Errorf("read metrics of %s: %w", from.Address, refusal(answer.StatusCode))
	}
	body := &io.LimitedReader{R: answer.Body, N: mostBytes + 1}
	sample, err := Parse(body)
	if body.N <= 0 {
		err = fmt.Errorf("the answer has more than %d MiB: whoever answers there is no router, or its table has too many decks", mostBytes>>20)
	}
	if err != nil {
		return Sample{}, fmt.Errorf("metrics of %s: %w", from.Address, cause(err))
	}
	sample.At = time.Now()
	return sample, nil
}

// cause leaves out the URL, which says nothing more than the address does.
func cause(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

func refusal(status int) error {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("status %d: the token is not the one that the router was started with (--admin-token-file)", status)
	case status >= 300 && status < 400:
		return fmt.Errorf("status %d: redirects are not followed, a router makes none", status)
	}
	return fmt.Errorf("status %d: the address must be the admin address of gridrouter serve", status)
}
