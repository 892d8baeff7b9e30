// Package metrics reads what a member of etcd counts of itself, at GET /metrics of a client URL or of a URL for
// metrics alone, and reckons with it: what was observed between two samples, and the time that so many of a
// hundred took.
//
// Who answers is not trusted: an answer is bounded in size and time, and what is not asked for is passed over
// before it is parsed.
package metrics
