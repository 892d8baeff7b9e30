package v1alpha1

// The ports of each router that no listener may have.
const (
	AdminPort  = 9901 // the admin endpoints
	HealthPort = 9902 // readiness and health, for probes and LVS
)

// ManagedFlags returns the flags of "gridrouter serve" that the operator sets, without "--". The CRD
// refuses them in spec.args, and a test holds both lists to each other.
func ManagedFlags() []string {
	return []string{
		"listen", "listen-tls", "tls-cert",
		"etcd", "etcd-cert", "etcd-key", "etcd-ca", "etcd-user", "etcd-password-file", "routes",
		"prefix", "gslb", "drain-delay", "drain-timeout",
		"admin", "admin-token-file", "health", "snapshot", "router-id", "config",
	}
}
