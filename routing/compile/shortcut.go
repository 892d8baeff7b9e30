package compile

import (
	"bytes"
	"strconv"
	"strings"
	"unsafe"

	"gridrouter.io/routing"
)

// tenantText is a stored tenant, cut but not decoded: what differs from tenant to tenant,
// and the rest, which is often the same for many.
type tenantText struct {
	name, rest string
	hosts      []string
	epoch      uint64
}

// cutTenant cuts a tenant in the one form that [Encode] of routing/document writes, fields
// in order and nothing between them. ok is false for every other text, and for one with
// escapes or with hosts that do not stand as they must; that text is for the decoder to
// judge. The strings are parts of value, to which nobody writes.
func cutTenant(value []byte) (cut tenantText, ok bool) {
	text, ok := bytes.CutPrefix(value, []byte(`{"kind":"Tenant","name":"`))
	if !ok {
		return cut, false
	}
	t := unsafe.String(unsafe.SliceData(text), len(text)) //nolint:gosec // as above: a copy of each of a million documents takes half a second
	if cut.name, t, ok = strings.Cut(t, `"`); !ok || routing.CheckName(cut.name) != nil {
		return cut, false
	}
	if t, ok = strings.CutPrefix(t, `,"hosts":[`); !ok {
		return cut, false
	}
	if cut.hosts, t, ok = cutHosts(t); !ok {
		return cut, false
	}
	cut.epoch = 1
	if after, given := strings.CutPrefix(t, `,"epoch":`); given {
		digits, _, _ := strings.Cut(after, ",")
		epoch, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || epoch == 0 || digits[0] == '0' || digits[0] == '+' {
			return cut, false
		}
		cut.epoch, t = epoch, after[len(digits):]
	}
	cut.rest = t
	// A second epoch would be one too many, which the decoder has to say.
	return cut, strings.HasPrefix(t, `,"rules":[`) && !strings.Contains(t, `"epoch"`)
}

// cutHosts cuts a list of at most 16 valid hosts, none of them twice.
func cutHosts(t string) (hosts []string, rest string, ok bool) {
	const most = 16
	for len(hosts) < most {
		if t, ok = strings.CutPrefix(t, `"`); !ok {
			return nil, t, false
		}
		var host string
		if host, t, ok = strings.Cut(t, `"`); !ok || strings.Contains(host, "--") || routing.CheckHost(host, true) != nil { // A-labels are for the decoder
			return nil, t, false
		}
		for _, other := range hosts {
			if other == host {
				return nil, t, false
			}
		}
		hosts = append(hosts, host)
		if after, last := strings.CutPrefix(t, `]`); last {
			return hosts, after, true
		}
		if t, ok = strings.CutPrefix(t, `,`); !ok {
			return nil, t, false
		}
	}
	return nil, t, false
}
