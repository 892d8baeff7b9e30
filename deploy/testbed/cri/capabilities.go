package cri

import (
	"slices"
	"strings"

	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"gridrouter.io/deploy/testbed/container"
)

// everyCapability stands for all of them in a pod's lists.
const everyCapability = "ALL"

// capabilities gives those that a container may have: all, but those that the pod drops, and those
// that it adds.
func capabilities(security *v1.LinuxContainerSecurityContext) []string {
	lists := security.GetCapabilities()
	kept := container.AllCapabilities()
	if security.GetPrivileged() {
		return kept
	}
	for _, name := range lists.GetDropCapabilities() {
		kept = slices.DeleteFunc(kept, func(has string) bool { return name == everyCapability || has == plain(name) })
	}
	for _, name := range lists.GetAddCapabilities() {
		if name == everyCapability {
			return container.AllCapabilities()
		}
		if !slices.Contains(kept, plain(name)) {
			kept = append(kept, plain(name))
		}
	}
	return kept
}

// plain is a capability's name as Kubernetes spells it: without the prefix of the kernel's header.
func plain(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "CAP_") }
