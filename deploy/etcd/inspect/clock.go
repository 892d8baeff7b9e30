package inspect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Offset is by how much a member's clock is ahead of ours: between Low and High, both included.
type Offset struct{ Low, High time.Duration }

const (
	// clockLooks is how often a clock is looked at. The looks are spread over a little more than a second: an
	// answer tells whole seconds, and the one after which the second changed tells more.
	clockLooks = 12
	clockPause = 95 * time.Millisecond
)

// errNoClock says that a clock could not be read.
var errNoClock = errors.New("the answers bear no usable date")

// clockOf measures a member's clock by the dates of its answers over HTTP. Each answer bounds the offset by
// the second it names and by when it was asked and answered; what all of them allow is some 100 ms and a round
// trip wide. It takes a little more than a second.
func clockOf(ctx context.Context, client *http.Client, at string) (Offset, error) {
	bounds := Offset{Low: -1 << 62, High: 1 << 62}
	for look := range clockLooks {
		if look > 0 {
			select {
			case <-ctx.Done():
				return Offset{}, ctx.Err()
			case <-time.After(clockPause):
			}
		}
		sent, date, received, err := dateOf(ctx, client, at)
		if err != nil {
			return Offset{}, err
		}
		bounds.Low = max(bounds.Low, date.Sub(received))
		bounds.High = min(bounds.High, date.Add(time.Second).Sub(sent))
	}
	if bounds.Low > bounds.High {
		return Offset{}, errors.New("its clock or ours was set while it was looked at")
	}
	return bounds, nil
}

// dateOf asks for the date of an answer. Its status does not matter.
func dateOf(ctx context.Context, client *http.Client, at string) (sent, date, received time.Time, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return sent, date, received, errNoClock
	}
	sent = time.Now()
	answer, err := client.Do(request)
	received = time.Now()
	if err != nil {
		return sent, date, received, err
	}
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	_ = answer.Body.Close()
	if date, err = http.ParseTime(answer.Header.Get("Date")); err != nil {
		return sent, date, received, errNoClock
	}
	// Without the monotonic part, since it is compared with another clock.
	return sent.Round(0), date, received.Round(0), nil
}

// clockURL is where a member's clock is looked at: beside its metrics, at a path that costs it nothing.
func (a Access) clockURL(endpoint string) string {
	at, err := url.Parse(a.metricsOf(endpoint))
	if err != nil {
		return endpoint
	}
	at.Path, at.RawQuery = "/version", ""
	return at.String()
}
