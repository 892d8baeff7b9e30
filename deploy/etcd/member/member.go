// Package member says what a pod with a member of an etcd cluster and its operator tell each other: which member
// the pod is, in an annotation, and why the pod's etcd was not started, in an exit status.
//
// The operator may be sure of a member only once it saw it in the cluster. From then on the pod has the
// annotation [Joined], and package starter, which runs in the pod, starts etcd with that member's data alone: a
// member that joins again without its data has forgotten votes and entries that it has acknowledged.
package member

import (
	"fmt"
	"strconv"
	"strings"
)

// Joined is the annotation of a pod whose member has joined its cluster. Its value is an [Identity] as String
// writes it.
const Joined = "gridrouter.io/etcd-joined"

// Exit statuses of a container whose etcd was not started. Those of etcd itself and of shells are others.
const (
	// ExitDataLost: the member has joined, and its volume has no data of it.
	ExitDataLost = 41
	// ExitOtherMember: the volume has the data of another member or another cluster.
	ExitOtherMember = 42
	// ExitUnreadable: the data are damaged, so that etcd could not start from them.
	ExitUnreadable = 43
	// ExitUnusable: the folder of the data cannot be read or written, for want of rights or of space.
	ExitUnusable = 44
)

// Identity is who a member is: the numbers that etcd gives to it and to its cluster. Neither is 0 in a valid one.
type Identity struct {
	Member, Cluster uint64
}

// String returns MEMBER/CLUSTER, each in hex as etcd writes it.
func (i Identity) String() string { return fmt.Sprintf("%x/%x", i.Member, i.Cluster) }

// ParseIdentity reads what [Identity.String] writes. The error names the mend.
func ParseIdentity(text string) (i Identity, err error) {
	first, second, found := strings.Cut(text, "/")
	if !found {
		return Identity{}, fmt.Errorf("%q is not MEMBER/CLUSTER; write both IDs in hex, such as 8e9e05c52164694d/cdf818194e3a8c32", text)
	}
	if i.Member, err = ParseID(first); err != nil {
		return Identity{}, fmt.Errorf("the member of %q: %w", text, err)
	}
	if i.Cluster, err = ParseID(second); err != nil {
		return Identity{}, fmt.Errorf("the cluster of %q: %w", text, err)
	}
	return i, nil
}

// ParseID reads the ID of a member or a cluster: 1 to 16 hex digits, and not 0, which etcd gives to nobody.
func ParseID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 16, 64)
	if err != nil || id == 0 || len(text) > 16 || text[0] == '+' {
		return 0, fmt.Errorf("%q is not an ID of etcd; write 1 to 16 hex digits that are not all 0", text)
	}
	return id, nil
}

// RefusalError is why etcd was not started. It may be read by many at once.
type RefusalError struct {
	// Status is one of the exit statuses above.
	Status int
	// Err says what was found, where, and what comes of it.
	Err error
}

// Error returns what Err says.
func (r *RefusalError) Error() string { return r.Err.Error() }

// Unwrap returns Err.
func (r *RefusalError) Unwrap() error { return r.Err }

// ExitStatus returns Status: what a command ends with that returns the error.
func (r *RefusalError) ExitStatus() int { return r.Status }
