package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// How often a part that is not ready is asked again, and how long one question may take.
const (
	askEvery = 10 * time.Millisecond
	askLimit = time.Second
)

// await asks until the answer is good, the process ends (gone is closed), or ctx ends;
// then it says what the last answer was.
func await(ctx context.Context, gone <-chan struct{}, ask func(context.Context) error) error {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, askLimit)
		err := ask(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return errGone
		case <-ctx.Done():
			return fmt.Errorf("%w; the last try: %w", context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

var errGone = errors.New("it ended")

// connects asks whether somebody accepts connections at the address.
func connects(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// answers200 asks whether the URL answers 200.
func answers200(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		_ = response.Body.Close()
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s answers %s: %s", url, response.Status, strings.TrimSpace(string(body)))
		}
		return err
	}
}

// answersZone asks whether the DNS server is the authority for the zone.
func answersZone(server, zone string) func(context.Context) error {
	return func(ctx context.Context) error {
		reply, err := exchange(ctx, "udp", server, zone, dns.TypeSOA)
		if err == nil && (reply.Rcode != dns.RcodeSuccess || !reply.Authoritative) {
			err = fmt.Errorf("%s says %s about %s", server, dns.RcodeToString[reply.Rcode], zone)
		}
		return err
	}
}

// answersName asks whether the DNS server has an address for the name.
func answersName(server, name string) func(context.Context) error {
	return func(ctx context.Context) error {
		reply, err := exchange(ctx, "udp", server, name, dns.TypeA)
		if err == nil && len(reply.Answer) == 0 {
			err = fmt.Errorf("%s says %s about %s", server, dns.RcodeToString[reply.Rcode], name)
		}
		return err
	}
}

func exchange(ctx context.Context, network, server, name string, kind uint16) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), kind)
	reply, _, err := (&dns.Client{Net: network, Timeout: askLimit}).ExchangeContext(ctx, query, server)
	return reply, err
}
