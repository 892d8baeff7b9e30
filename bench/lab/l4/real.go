package l4

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// How health is followed: often, so that a forwarder leaves a real server within
// half a second, as LVS with its checks would be set up to do.
const (
	checkEvery   = 200 * time.Millisecond
	checkTimeout = 500 * time.Millisecond
	fall         = 2 // failed checks in a row that take a real server out
	rise         = 1 // good checks in a row that take it back
)

// Real is a real server: where a forwarder may send connections.
type Real struct {
	// Address is where connections go (host:port).
	Address string
	// Health is the URL that answers 200 while the server wants connections. Empty: it
	// always does.
	Health string
}

// server is the live state of a Real. Its counters may be read at any time.
type server struct {
	Real
	down     atomic.Bool
	open     atomic.Int64
	total    atomic.Int64
	failures atomic.Int64
}

// follow asks for the health of the real server until ctx ends, and says each change.
func (r *server) follow(ctx context.Context, log *zap.Logger) {
	if r.Health == "" {
		return
	}
	client := &http.Client{Timeout: checkTimeout, Transport: &http.Transport{MaxIdleConns: 1}}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	good, bad := 0, 0
	for {
		if err := check(ctx, client, r.Health); err == nil {
			good, bad = good+1, 0
			if good >= rise && r.down.CompareAndSwap(true, false) {
				log.Info("real server is up: it gets new connections", zap.String("real", r.Address))
			}
		} else if ctx.Err() == nil {
			good, bad = 0, bad+1
			if bad >= fall && r.down.CompareAndSwap(false, true) {
				log.Warn("real server is down: it gets no new connections",
					zap.String("real", r.Address), zap.String("health", r.Health), zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// check asks once; nil means that the server wants connections.
func check(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4<<10))
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer was %s", response.Status)
	}
	return nil
}
