package render

import (
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

// Defaults is what the operator knows and a spec may leave out.
type Defaults struct {
	// Image is the operator's own, without a tag.
	Image string
}

// EtcdLogin is what pods depend on of the Secret of spec.etcd.secret.
type EtcdLogin struct {
	// Keys lists the keys that have a value.
	Keys []string
	// User is the user's name. Pods read it from their environment, which is made once: another name needs
	// other pods. A password and certificates are read from files, which follow the Secret.
	User string
}

// Input is all that the pods of a fleet are made from, in the canonical forms of JSON: the same pods, the
// same text. Its hash names the revision.
//
// Since the hash must never change for a spec that has not, a field may be added here only if it is left
// out where it is empty, and none may be renamed, moved or removed; golden hashes hold that.
type Input struct {
	Version       string                      `json:"version"`
	Image         string                      `json:"image,omitempty"`
	Etcd          []string                    `json:"etcd,omitempty"`
	EtcdSecret    string                      `json:"etcdSecret,omitempty"`
	EtcdKeys      []string                    `json:"etcdKeys,omitempty"`
	Prefix        string                      `json:"prefix,omitempty"`
	Listeners     []v1alpha1.Listener         `json:"listeners,omitempty"`
	GSLB          []string                    `json:"gslb,omitempty"`
	Resources     corev1.ResourceRequirements `json:"resources,omitzero"`
	Zones         v1alpha1.ZoneSpread         `json:"zones,omitempty"`
	NodeSelector  map[string]string           `json:"nodeSelector,omitempty"`
	Tolerations   []corev1.Toleration         `json:"tolerations,omitempty"`
	PriorityClass string                      `json:"priorityClass,omitempty"`
	DrainDelay    string                      `json:"drainDelay,omitempty"`
	DrainTimeout  string                      `json:"drainTimeout,omitempty"`
	Args          []string                    `json:"args,omitempty"`
	EtcdUser      string                      `json:"etcdUser,omitempty"`
	// DefaultImage is what is run where Image is empty. It is no part of the hash: another operator's image
	// restarts nothing.
	DefaultImage string `json:"defaultImage,omitempty"`
}

// InputOf picks out of a spec what pods are made from.
func InputOf(fleet *v1alpha1.GridRouter, login EtcdLogin, defaults Defaults) Input {
	spec := &fleet.Spec
	in := Input{
		Version: spec.Version, Image: spec.Image, Etcd: texts(spec.Etcd.Endpoints), EtcdSecret: spec.Etcd.Secret, EtcdKeys: slices.Sorted(slices.Values(login.Keys)), EtcdUser: login.User,
		Prefix: spec.Prefix, Listeners: slices.Clone(spec.Listeners), GSLB: texts(spec.GSLB.Servers), Resources: *spec.Resources.DeepCopy(), Zones: spec.Placement.Zones,
		NodeSelector: spec.Placement.NodeSelector, Tolerations: spec.Placement.Tolerations, PriorityClass: spec.Placement.PriorityClass,
		DrainDelay: duration(spec.Drain.Delay, 5*time.Second), DrainTimeout: duration(spec.Drain.Timeout, 30*time.Second), Args: texts(spec.Args),
		DefaultImage: defaults.Image,
	}
	return in
}

func texts[T ~string](list []T) []string {
	if len(list) == 0 {
		return nil // what is left out of the hash
	}
	all := make([]string, len(list))
	for i, each := range list {
		all[i] = string(each)
	}
	return all
}

func duration(d *metav1.Duration, absent time.Duration) string {
	if d == nil {
		return absent.String()
	}
	return d.Duration.String()
}

// Hash names the input: ten of 0-9 and a-z.
func (in *Input) Hash() string {
	hashed := *in
	hashed.DefaultImage = ""
	text, err := json.Marshal(&hashed)
	if err != nil {
		panic("an input that cannot be written: " + err.Error()) // it has only types of JSON
	}
	sum := sha256.Sum256(text)
	digits := new(big.Int).SetBytes(sum[:]).Text(36)
	return strings.Repeat("0", max(0, 10-len(digits))) + digits[:min(10, len(digits))]
}

// ImageName is the image without a tag.
func (in *Input) ImageName() string {
	if in.Image != "" {
		return in.Image
	}
	return in.DefaultImage
}

func (in *Input) drain() (delay, timeout time.Duration) {
	delay, _ = time.ParseDuration(in.DrainDelay)
	timeout, _ = time.ParseDuration(in.DrainTimeout)
	return delay, timeout
}
