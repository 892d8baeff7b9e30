package render

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

// TemplateOf is what members of a cluster are to run.
func TemplateOf(c *v1alpha1.EtcdCluster) v1alpha1.EtcdMemberTemplate {
	spec := &c.Spec
	return v1alpha1.EtcdMemberTemplate{
		Version: spec.Version, Image: spec.Image, Resources: *spec.Resources.DeepCopy(), TLS: spec.TLS.Mode != v1alpha1.EtcdTLSOff,
		Args: optionArgs(&spec.Options), Placement: *spec.Placement.DeepCopy(), Storage: spec.Storage.Size,
	}
}

// optionArgs are the flags of etcd that options ask for.
func optionArgs(o *v1alpha1.EtcdOptions) []string {
	args := []string{
		fmt.Sprintf("--heartbeat-interval=%d", milliseconds(o.Heartbeat, 100*time.Millisecond)),
		fmt.Sprintf("--election-timeout=%d", milliseconds(o.Election, time.Second)),
	}
	if o.QuotaBytes != nil {
		args = append(args, fmt.Sprintf("--quota-backend-bytes=%d", o.QuotaBytes.Value()))
	}
	if o.SnapshotCount != nil {
		args = append(args, fmt.Sprintf("--snapshot-count=%d", *o.SnapshotCount))
	}
	mode, retention := o.AutoCompaction.Mode, o.AutoCompaction.Retention
	if retention == "" {
		retention = "10000"
	}
	switch mode {
	case v1alpha1.CompactNever:
	case v1alpha1.CompactByTime:
		args = append(args, "--auto-compaction-mode=periodic", "--auto-compaction-retention="+retention)
	case v1alpha1.CompactByRevision, "":
		args = append(args, "--auto-compaction-mode=revision", "--auto-compaction-retention="+retention)
	}
	return args
}

func milliseconds(d *metav1.Duration, absent time.Duration) int64 {
	if d == nil {
		return absent.Milliseconds()
	}
	return d.Milliseconds()
}

// Hash names what a member runs: ten of 0-9 and a-z.
func Hash(t *v1alpha1.EtcdMemberTemplate) string {
	hashed := t.DeepCopy()
	hashed.Storage.Set(0)
	hashed.Storage.Format = ""
	text, err := json.Marshal(hashed)
	if err != nil {
		panic("a template that cannot be written: " + err.Error()) // it has only types of JSON
	}
	sum := sha256.Sum256(text)
	digits := new(big.Int).SetBytes(sum[:]).Text(36)
	return strings.Repeat("0", max(0, 10-len(digits))) + digits[:min(10, len(digits))]
}

// Defaults is what the operator knows and a spec may leave out.
type Defaults struct {
	// EtcdImage is etcd's image without a tag.
	EtcdImage string
	// ToolsImage is an image of gridrouter, with its tag, that has "gridrouter etcd run".
	ToolsImage string
	// IPv6 says that pods may have no address of IPv4.
	IPv6 bool
}
