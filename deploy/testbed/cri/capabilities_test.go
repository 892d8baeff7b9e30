package cri

import (
	"slices"
	"testing"

	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"gridrouter.io/deploy/testbed/container"
)

func TestCapabilitiesAreThoseThatThePodKeeps(t *testing.T) {
	all := container.AllCapabilities()
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(has string) bool { return has == name })
	}
	for _, c := range []struct {
		what       string
		drop, add  []string
		privileged bool
		want       []string
	}{
		{"nothing said", nil, nil, false, all},
		{"one dropped", []string{"NET_RAW"}, nil, false, without("NET_RAW")},
		{"one dropped by its long name", []string{"CAP_NET_RAW"}, nil, false, without("NET_RAW")},
		{"all dropped", []string{"ALL"}, nil, false, nil},
		{"all dropped but one", []string{"ALL"}, []string{"NET_BIND_SERVICE"}, false, []string{"NET_BIND_SERVICE"}},
		{"one added that was there", nil, []string{"CHOWN"}, false, all},
		{"all dropped, all added", []string{"ALL"}, []string{"ALL"}, false, all},
		{"privileged", []string{"ALL"}, nil, true, all},
	} {
		got := capabilities(&v1.LinuxContainerSecurityContext{
			Privileged:   c.privileged,
			Capabilities: &v1.Capability{DropCapabilities: c.drop, AddCapabilities: c.add},
		})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v; want %v", c.what, got, c.want)
		}
	}
	if got := capabilities(nil); !slices.Equal(got, all) {
		t.Errorf("without a security context: %v", got)
	}
}
