// Package load makes HTTP load and measures the answers: HTTP/1.1 with and without TLS, and
// WebSocket messages, in a closed loop (as fast as the answers come) or an open one (at the
// times of a schedule, whatever the answers do).
//
// Latency counts from the time at which a request was due, so that a stall is seen by all
// requests that it would have met ("coordinated omission"; Gil Tene). Every answer is checked,
// and a result says whether the generator itself kept up. The package knows nothing of what
// it measures and imports nothing of ours.
package load
