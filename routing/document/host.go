package document

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"gridrouter.io/routing"
)

// hostProfile maps names of other scripts to A-labels as UTS #46 does for look-up,
// not transitionally, with its checks of labels, joiners and directions. Hyphens and "_"
// are left to [routing.CheckHost]. It is never changed.
var hostProfile = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
)

// CanonicalHost returns the one form in which hosts are compared: lower case, A-labels,
// no trailing dot. "*." in front, which stands for one or more labels, is kept, and so is
// [routing.CatchAll]. A port is
// refused. IP addresses are taken in any spelling of [netip.ParseAddr] without a zone, IPv6
// in brackets, and returned in their canonical text. What it returns passes
// [routing.CheckHost] and is its own canonical form.
func CanonicalHost(host string) (string, error) {
	if host == routing.CatchAll {
		return host, nil
	}
	canonical := host
	if !isPlainHost(host) {
		name, wildcard := strings.CutPrefix(host, "*.")
		var err error
		if canonical, err = canonicalName(name); err != nil {
			return "", err
		}
		if canonical == routing.CatchAll { // a star of another script
			return "", fmt.Errorf("%s is no host name; write \"*\" for all hosts that nobody owns", quote(host))
		}
		if wildcard {
			canonical = "*." + canonical
		}
	}
	if err := routing.CheckHost(canonical, true); err != nil {
		return "", err
	}
	return canonical, nil
}

// isPlainHost says whether a host, if it is one at all, is in canonical form already.
func isPlainHost(host string) bool {
	name := strings.TrimPrefix(host, "*.")
	for i := range len(name) {
		b := name[i]
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '.' && b != '_' {
			return false
		}
	}
	return name != "" && name[len(name)-1] != '.' && !strings.Contains(name, "xn--")
}

// canonicalName makes the canonical form of a host without its "*.".
func canonicalName(name string) (string, error) {
	if name == "" {
		return "", errors.New("is empty; write a host name, such as shop.acme.example")
	}
	if strings.Contains(name, "/") {
		return "", fmt.Errorf("%s has a slash; write the host alone, without scheme and path", quote(name))
	}
	if strings.HasPrefix(name, "[") {
		return canonicalIPv6(name)
	}
	if strings.Count(name, ":") > 1 {
		return "", fmt.Errorf("%s has more than one colon; write IPv6 in brackets, as in [2001:db8::1]", quote(name))
	}
	if at := strings.IndexByte(name, ':'); at >= 0 {
		return "", fmt.Errorf("%s has a port; hosts are compared without: write %s", quote(name), quote(name[:at]))
	}
	mapped, err := hostProfile.ToASCII(strings.TrimSuffix(name, "."))
	if err == nil && isASCII(name) {
		return mapped, nil
	}
	if err == nil {
		mapped = strings.TrimSuffix(mapped, ".") // a full stop of another script
		var again string
		if again, err = hostProfile.ToASCII(mapped); err == nil && again == mapped {
			return mapped, nil
		}
	}
	return "", fmt.Errorf("%s is not a name that DNS knows (IDNA, UTS #46); write it in letters, digits, \"-\" and dots, or in A-labels (xn--...)", quote(name))
}

func canonicalIPv6(name string) (string, error) {
	bare, ok := strings.CutSuffix(name[1:], "]")
	addr, err := netip.ParseAddr(bare)
	if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", fmt.Errorf("%s is not an IPv6 address in brackets; write it as [2001:db8::1], without port and zone", quote(name))
	}
	return "[" + addr.String() + "]", nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
