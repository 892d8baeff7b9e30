package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"gridrouter.io/cmd/flags"
)

// adminAddress is the admin listener of a router that runs.
type adminAddress struct {
	router, tokenFile string
}

func (a *adminAddress) register(fs *pflag.FlagSet, what string) {
	fs.StringVar(&a.router, "router", "", "admin `ADDRESS` of the router "+what+", such as 127.0.0.1:9901 (default none)")
	fs.StringVar(&a.tokenFile, "token-file", "", "`FILE` with the token for --router (default none)")
}

// call makes one call to an endpoint, and returns the body of its answer. What it refuses is an
// error that says why.
func (a *adminAddress) call(ctx context.Context, method, endpoint string, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := a.ask(ctx, method, endpoint, timeout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // only read
	return readBody(response)
}

func readBody(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(bufio.NewReader(response.Body), 16<<20))
	if err != nil {
		return nil, fmt.Errorf("the router at %s broke off its answer: %w", response.Request.URL.Host, err)
	}
	return body, nil
}

// ask begins one call to an endpoint, whose answer may begin until timeout. The caller closes it.
func (a *adminAddress) ask(ctx context.Context, method, endpoint string, timeout time.Duration) (*http.Response, error) {
	address := a.router
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.User != nil {
		return nil, flags.Usagef("--router: not the address of an admin listener; write HOST:PORT or http://HOST:PORT")
	}
	path, query, _ := strings.Cut(endpoint, "?")
	at := base.JoinPath(path)
	at.RawQuery = query
	request, err := http.NewRequestWithContext(ctx, method, at.String(), http.NoBody)
	if err != nil {
		return nil, flags.Usagef("--router: %w", err)
	}
	if a.tokenFile != "" {
		token, unread := os.ReadFile(a.tokenFile)
		if unread != nil {
			return nil, flags.Usagef("--token-file: %w", unread)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: timeout}}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the router's admin listener at %s does not answer; is it running? (%w)", base.Host, causeOf(err))
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }() // only read
	body, err := readBody(response)
	if err != nil {
		return nil, err
	}
	switch response.StatusCode {
	case http.StatusUnauthorized:
		if a.tokenFile != "" {
			return nil, fmt.Errorf("the router at %s refuses the token in %s; is it that of its --admin-token-file?", base.Host, a.tokenFile)
		}
		return nil, fmt.Errorf("the router at %s wants a token; give --token-file", base.Host)
	case http.StatusForbidden, http.StatusNotFound, http.StatusConflict:
		return nil, fmt.Errorf("the router at %s: %s", base.Host, firstLine(body))
	case http.StatusBadRequest:
		return nil, flags.Usagef("the router at %s: %s", base.Host, firstLine(body))
	}
	return nil, fmt.Errorf("the router at %s answers %d: %s", base.Host, response.StatusCode, firstLine(body))
}
