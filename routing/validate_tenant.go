package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Validate checks the tenant by itself; whether its decks exist and its hosts are free
// is for others. Hosts must already be canonical.
func (t *Tenant) Validate() error {
	var c complaints
	c.kind(t.Kind, KindTenant)
	c.name("name", t.Name)
	t.validateHosts(&c)
	if t.Epoch > MaxEpoch {
		c.add("epoch", "is %d; at most %d, and no change by apply gets there: leave it out, and apply writes the next one", t.Epoch, uint64(MaxEpoch))
	}
	if len(t.Rules) == 0 {
		c.add("rules", "is missing; give at least one rule, such as {name: all, deck: NAME}")
	}
	if len(t.Rules) > MaxRules {
		c.add("rules", "has %d entries; at most %d", len(t.Rules), MaxRules)
		return c.join()
	}
	names := make(map[string]bool, len(t.Rules))
	for i := range t.Rules {
		rule, path := &t.Rules[i], fmt.Sprintf("rules[%d]", i)
		rule.validate(&c, path)
		if names[rule.Name] && rule.Name != "" {
			c.add(path+".name", "%q is taken by a rule above; names are unique in a tenant", rule.Name)
		}
		names[rule.Name] = true
	}
	t.validatePins(&c)
	c.notYet("limits", t.Limits != nil)
	switch t.EncodedSlash {
	case "", EncodedSlashRefuse, EncodedSlashPass:
	default:
		c.add("encodedSlash", "is %q; write refuse or pass", t.EncodedSlash)
	}
	if t.Retry != nil && (t.Retry.Attempts < 0 || t.Retry.Attempts > MaxAttempts) {
		c.add("retry.attempts", "is %d; write 1 to %d", t.Retry.Attempts, MaxAttempts)
	}
	if t.Timeouts != nil {
		c.duration("timeouts.total", t.Timeouts.Total, 24*time.Hour)
	}
	return c.join()
}

func (t *Tenant) validateHosts(c *complaints) {
	if len(t.Hosts) == 0 {
		c.add("hosts", "is missing; a tenant owns at least one host")
	}
	check := func(field string, hosts []string) {
		if len(hosts) > MaxHosts {
			c.add(field, "has %d entries; at most %d", len(hosts), MaxHosts)
			return
		}
		seen := make(map[string]bool, len(hosts))
		for i, host := range hosts {
			path := fmt.Sprintf("%s[%d]", field, i)
			if err := CheckHost(host, true); err != nil {
				c.add(path, "%v", err)
			}
			if seen[host] {
				c.add(path, "%q stands twice", host)
			}
			seen[host] = true
		}
	}
	check("hosts", t.Hosts)
	check("delegates", t.Delegates)
	for i, host := range t.Delegates {
		under := slices.ContainsFunc(t.Hosts, func(own string) bool { return Covers(own, host) && own != host })
		if !under && CheckHost(host, true) == nil {
			c.add(fmt.Sprintf("delegates[%d]", i), "%q is not under a wildcard among the tenant's hosts", host)
		}
		if slices.Contains(t.Hosts, host) {
			c.add(fmt.Sprintf("delegates[%d]", i), "%q is among the tenant's own hosts; leave it out of one of the two", host)
		}
	}
}

// Covers says whether a pattern, a host or "*." and a host, stands for host, which may be a
// pattern too. Both are in canonical form. [CatchAll] covers nothing: it is for hosts that
// nobody else has.
func Covers(pattern, host string) bool {
	if pattern == host {
		return true
	}
	suffix, ok := strings.CutPrefix(pattern, "*")
	return ok && pattern != CatchAll && len(host) > len(suffix) && strings.HasSuffix(host, suffix)
}

// WildcardsAbove lists the wildcards that stand for a host, or for all that a wildcard
// stands for, the longest first. An IPv6 address has none.
func WildcardsAbove(host string) []string {
	rest := strings.TrimPrefix(host, "*.")
	if strings.HasPrefix(rest, "[") {
		return nil
	}
	above := make([]string, 0, strings.Count(rest, "."))
	for {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			return above
		}
		above = append(above, "*."+parent)
		rest = parent
	}
}

// validatePins holds the tenant to one namespace, one mode and one key source for its pins.
func (t *Tenant) validatePins(c *complaints) {
	first := -1
	for i := range t.Rules {
		rule := &t.Rules[i]
		if rule.Pins == PinsOff || rule.Key == nil {
			continue
		}
		if first < 0 {
			first = i
			continue
		}
		if rule.Pins != t.Rules[first].Pins {
			c.add(fmt.Sprintf("rules[%d].pins", i), "differs from rule %q; a tenant's pins have one mode", t.Rules[first].Name)
		}
		if *rule.Key != *t.Rules[first].Key {
			c.add(fmt.Sprintf("rules[%d].key", i), "differs from rule %q, which uses pins too; a tenant's pins are for one key source", t.Rules[first].Name)
		}
	}
}

func (r *Rule) validate(c *complaints, path string) {
	c.name(path+".name", r.Name)
	if r.Match != nil {
		r.Match.validate(c, path+".match")
	}
	keyed := r.Key != nil || r.Pins != PinsOff || len(r.Ranges) > 0 || len(r.Split) > 0 || r.Missing != ""
	switch {
	case r.Deck != "" && keyed:
		c.add(path+".deck", "stands alone; take out key, pins, ranges, split and missing, or take out deck")
	case r.Deck != "":
		c.name(path+".deck", r.Deck)
	case r.Key == nil:
		c.add(path, "yields no deck; give deck, or key with pins, ranges or split")
	default:
		r.validateKeyed(c, path)
	}
}

func (r *Rule) validateKeyed(c *complaints, path string) {
	r.Key.validate(c, path+".key")
	if r.Pins == PinsOff && len(r.Ranges) == 0 && len(r.Split) == 0 {
		c.add(path, "has a key, but nothing that maps it; give pins: true, ranges or split")
	}
	switch r.Missing {
	case "", MissingReject, MissingNext:
	default:
		c.name(path+".missing", r.Missing)
	}
	r.validateRanges(c, path)
	if r.Split == nil {
		return
	}
	if len(r.Split) > MaxSplitDecks {
		c.add(path+".split", "names %d decks; at most %d", len(r.Split), MaxSplitDecks)
		return
	}
	total := 0
	for _, deck := range slices.Sorted(maps.Keys(r.Split)) {
		c.name(path+".split."+deck, deck)
		weight := r.Split[deck]
		if weight < 0 || weight > MaxWeight {
			c.add(path+".split."+deck, "has the weight %d; a weight is a whole number of 0 to %d", weight, MaxWeight)
		}
		total += max(weight, 0)
	}
	if total == 0 {
		c.add(path+".split", "has weights that add up to nothing; give at least one deck a weight above 0")
	}
}

func (r *Rule) validateRanges(c *complaints, path string) {
	if len(r.Ranges) > MaxRanges {
		c.add(path+".ranges", "has %d entries; at most %d", len(r.Ranges), MaxRanges)
		return
	}
	order := make([]int, len(r.Ranges))
	for i := range r.Ranges {
		order[i] = i
		rng, at := &r.Ranges[i], fmt.Sprintf("%s.ranges[%d]", path, i)
		c.name(at+".deck", rng.Deck)
		if rng.From < 0 {
			c.add(at+".from", "is negative; keys in ranges are 0 to 9223372036854775807")
		}
		if rng.To < rng.From {
			c.add(at, "ends at %d, before it begins at %d", rng.To, rng.From)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case r.Ranges[a].From < r.Ranges[b].From:
			return -1
		case r.Ranges[a].From > r.Ranges[b].From:
			return 1
		}
		return 0
	})
	for n := 1; n < len(order); n++ {
		low, high := &r.Ranges[order[n-1]], &r.Ranges[order[n]]
		if high.From <= low.To {
			c.add(fmt.Sprintf("%s.ranges[%d]", path, order[n]), "overlaps ranges[%d] (%d to %d); a key belongs to one range",
				order[n-1], low.From, low.To)
		}
	}
}

func (m *Match) validate(c *complaints, path string) {
	if m.Path == "" && len(m.Methods) == 0 && len(m.Headers) == 0 && len(m.Cookies) == 0 && len(m.Query) == 0 {
		c.add(path, "is empty; leave it out to match every request")
	}
	if m.Path != "" {
		if err := checkMatchPath(m.Path); err != nil {
			c.add(path+".path", "%v", err)
		}
	}
	if len(m.Methods) > MaxConditions {
		c.add(path+".methods", "has %d entries; at most %d", len(m.Methods), MaxConditions)
	}
	for i, method := range m.Methods {
		at := fmt.Sprintf("%s.methods[%d]", path, i)
		switch {
		case !isToken(method):
			c.add(at, "%q is not a method", method)
		case method == "CONNECT" || method == "TRACE":
			c.add(at, "%s is never relayed", method)
		case strings.ToUpper(method) != method:
			c.add(at, "%q would never match: methods are case-sensitive; write %q", method, strings.ToUpper(method))
		}
	}
	conditions := func(field string, want map[string]string, check func(name string) error) {
		if len(want) > MaxConditions {
			c.add(path+"."+field, "has %d entries; at most %d", len(want), MaxConditions)
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if err := check(name); err != nil {
				c.add(path+"."+field+"."+name, "%v", err)
			}
			if len(want[name]) > MaxKeyBytes {
				c.add(path+"."+field+"."+name, "has a value of %d bytes; at most %d", len(want[name]), MaxKeyBytes)
			}
		}
	}
	conditions("headers", m.Headers, checkFieldName)
	conditions("cookies", m.Cookies, checkCookieName)
	conditions("query", m.Query, checkQueryName)
}

func (k *KeySource) validate(c *complaints, path string) {
	given := 0
	text := func(field, name string, check func(string) error) {
		if name == "" {
			return
		}
		given++
		if err := check(name); err != nil {
			c.add(path+"."+field, "%v", err)
		}
	}
	text("header", k.Header, checkFieldName)
	text("cookie", k.Cookie, checkCookieName)
	text("query", k.Query, checkQueryName)
	text("claim", k.Claim, checkClaimName)
	if k.Path != 0 {
		given++
		if k.Path < 1 || k.Path > MaxPathSegment {
			c.add(path+".path", "is %d; segments are counted from 1 to %d", k.Path, MaxPathSegment)
		}
	}
	if k.ClientIP {
		given++
	}
	if k.Host {
		given++
	}
	if given != 1 {
		c.add(path, "names %d sources; name exactly one of header, cookie, query, path, claim, clientIP, host", given)
	}
}

// checkFieldName accepts the lower-case names of fields that may decide a deck.
func checkFieldName(name string) error {
	switch {
	case !isToken(name) || len(name) > MaxNameBytes:
		return fmt.Errorf("%q is not a field name of 1 to %d characters", name, MaxNameBytes)
	case strings.ToLower(name) != name:
		return fmt.Errorf("%q is written in lower case: %q", name, strings.ToLower(name))
	case strings.HasPrefix(name, "x-grid-"):
		return fmt.Errorf("%q is the router's own and removed from requests", name)
	case strings.Contains(name, "_"):
		return fmt.Errorf("%q has a \"_\", which many servers confuse with \"-\"; choose a name without", name)
	}
	switch name {
	case "authorization":
		return fmt.Errorf("%q holds credentials, which decide no deck; use a claim", name)
	case "host", "cookie", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive",
		"proxy-connection", "proxy-authorization", "expect", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host":
		return fmt.Errorf("%q frames or forwards the message and decides no deck; use host, cookie or clientIP where that is meant", name)
	}
	return nil
}

func checkCookieName(name string) error {
	if !isToken(name) || len(name) > MaxNameBytes {
		return fmt.Errorf("%q is not a cookie name of 1 to %d characters", name, MaxNameBytes)
	}
	return nil
}

func checkQueryName(name string) error {
	if name == "" || len(name) > MaxNameBytes || strings.ContainsFunc(name, func(r rune) bool { return r < 0x21 || r == 0x7f }) {
		return fmt.Errorf("%q is not a parameter name of 1 to %d characters", name, MaxNameBytes)
	}
	return nil
}

func checkClaimName(name string) error {
	if name == "" || len(name) > MaxNameBytes || strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 }) {
		return fmt.Errorf("%q is not a claim's name of 1 to %d characters", name, MaxNameBytes)
	}
	return nil
}

// isToken says whether s is a token of RFC 9110 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		b := s[i]
		if b <= ' ' || b >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", b) >= 0 {
			return false
		}
	}
	return s != ""
}

// checkMatchPath accepts a path prefix that is written as requests are compared.
func checkMatchPath(path string) error {
	if path[0] != '/' {
		return fmt.Errorf("%q does not begin with \"/\"", path)
	}
	if strings.ContainsAny(path, "?#") {
		return fmt.Errorf("%q has a query or a fragment; write the path alone", path)
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] >= 0x7f {
			return fmt.Errorf("%q has a character that a target cannot hold; write it as %%%02X", path, path[i])
		}
	}
	canonical, ok := canonicalPath(nil, []byte(path), false)
	if !ok {
		return fmt.Errorf("%q has an encoded slash, dot segment or NUL, a backslash, or a %% without two hexadecimal digits; requests with these are refused", path)
	}
	if string(canonical) != path {
		return fmt.Errorf("%q is not in canonical form; write %q", path, canonical)
	}
	return nil
}
