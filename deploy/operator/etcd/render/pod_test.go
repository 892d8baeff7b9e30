package render

import (
	"strings"
	"testing"

	"gridrouter.io/deploy/api/v1alpha1"
)

// TestMembersListenWherePodsHaveAddresses has the wildcard of IPv4, on which nobody of IPv6 is heard, only where there is IPv4.
func TestMembersListenWherePodsHaveAddresses(t *testing.T) {
	c, m := &v1alpha1.EtcdCluster{}, &v1alpha1.EtcdMember{}
	c.Name, m.Name = "store", "store-0"
	for six, want := range map[bool]string{false: "://0.0.0.0:", true: "://[::]:"} {
		n := 0
		for _, arg := range args(c, m, Defaults{IPv6: six}) {
			if strings.HasPrefix(arg, "--listen-") {
				n++
				if !strings.Contains(arg, want) {
					t.Errorf("IPv6 %t: %s", six, arg)
				}
			}
		}
		if n != 3 {
			t.Errorf("%d flags of where to listen", n)
		}
	}
}
