package metrics

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// readTimeout bounds a read from the connection to the last byte.
	readTimeout = 5 * time.Second
	// mostBytes bounds an answer, unpacked. That of a member has some 200 KiB.
	mostBytes = 8 << 20
)

// Client returns a client for HTTP that asks members: it keeps no connection, follows no redirect and no proxy,
// and gives up after 5 s. A nil tls is what the machine trusts.
func Client(config *tls.Config) *http.Client {
	transport := &http.Transport{
		DisableKeepAlives: true, MaxResponseHeaderBytes: 32 << 10, ForceAttemptHTTP2: true,
	}
	if config != nil {
		transport.TLSClientConfig = config.Clone()
	}
	return &http.Client{
		Timeout: readTimeout, Transport: transport,
		// A member has nothing to redirect. Who does is none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Read reads a member's metrics from a URL. It takes at most 5 s, and less if ctx ends; 8 MiB of an answer are
// too many. The error names the host, and nothing else of the URL.
func Read(ctx context.Context, client *http.Client, from string) (Sample, error) {
	where, err := url.Parse(from)
	if err != nil || where.Host == "" {
		return Sample{}, errors.New("the URL of metrics must be like http://host:2379/metrics")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return Sample{}, fmt.Errorf("read metrics of %s: %w", where.Host, Cause(err))
	}
	answer, err := client.Do(request)
	if err != nil {
		return Sample{}, fmt.Errorf("read metrics of %s: %w", where.Host, Cause(err))
	}
	defer func() { _ = answer.Body.Close() }() // all that is wanted of it was read
	if answer.StatusCode != http.StatusOK {
		return Sample{}, fmt.Errorf("read metrics of %s: status %d: the URL must be a member's client URL or metrics URL, with the path /metrics", where.Host, answer.StatusCode)
	}
	body := &io.LimitedReader{R: answer.Body, N: mostBytes + 1}
	sample, err := Parse(body)
	if body.N <= 0 {
		err = fmt.Errorf("the answer has more than %d MiB: whoever answers there is no member of etcd", mostBytes>>20)
	}
	if err != nil {
		return Sample{}, fmt.Errorf("metrics of %s: %w", where.Host, Cause(err))
	}
	sample.At = time.Now()
	return sample, nil
}

// Cause leaves out the URL, which may bear what is nobody's business.
func Cause(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
