package faults

import (
	"strings"
	"testing"

	"gridrouter.io/routing"
)

// contractFaults is the contract's table.
var contractFaults = map[routing.Fault]int{
	"bad_request": 400, "key_missing": 400, "no_tenant": 404, "no_rule": 404, "method_not_allowed": 405, "request_timeout": 408,
	"body_too_large": 413, "uri_too_long": 414, "expectation_failed": 417, "misdirected": 421, "rate_limited": 429, "head_too_large": 431,
	"client_gone": 499, "internal": 500, "not_implemented": 501, "connect_failed": 502, "bad_deck_answer": 502, "overloaded": 503, "deck_down": 503,
	"deck_unresolved": 503, "pin_unreadable": 503, "tenant_invalid": 503, "no_table": 503, "draining": 503, "deck_timeout": 504,
	"version_not_supported": 505, "loop_detected": 508,
}

func TestEveryFaultHasItsStatus(t *testing.T) {
	kinds := All()
	if len(kinds) != len(contractFaults) {
		t.Errorf("%d faults, want %d", len(kinds), len(contractFaults))
	}
	for _, kind := range kinds {
		if contractFaults[kind.Code] != kind.Status {
			t.Errorf("%s: %d, want %d", kind.Code, kind.Status, contractFaults[kind.Code])
		}
		if retry := kind.Code == "rate_limited" || kind.Code == "overloaded"; retry != (kind.RetryAfter > 0) {
			t.Errorf("%s: Retry-After is %d", kind.Code, kind.RetryAfter)
		}
		if kind.Message == "" {
			t.Errorf("%s has no message", kind.Code)
		}
	}
}

func TestARetryAfterIsGivenWhereItIsDue(t *testing.T) {
	index := NewIndex()
	kind, _ := index.Of(Overloaded)
	text := string((&Answer{Kind: kind, RequestID: []byte("r1"), Date: []byte("today")}).AppendTo(nil))
	if !strings.HasPrefix(text, "HTTP/1.1 503 Service Unavailable\r\nX-Grid-Fault: overloaded\r\nX-Request-Id: r1\r\nRetry-After: 1\r\n") {
		t.Fatalf("got %q", text)
	}
	kind, _ = index.Of(RateLimited)
	text = string((&Answer{Kind: kind, RequestID: []byte("r1"), Date: []byte("today"), Close: true}).AppendTo(nil))
	if !strings.HasPrefix(text, "HTTP/1.1 429 Too Many Requests\r\n") || !strings.Contains(text, "\r\nConnection: close\r\n") {
		t.Fatalf("got %q", text)
	}
}
