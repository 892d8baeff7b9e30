package render

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/pki"
)

// Container is the name of the container of a pod that etcd runs in.
const Container = "etcd"

// Where a member finds its files.
const (
	volumeFolder = "/var/lib/etcd"
	dataFolder   = volumeFolder + "/data"
	toolsFolder  = "/tools" // not /gridrouter, which is the program itself in its image
	aboutFolder  = "/etc/gridrouter/pod"
	tlsFolder    = "/etc/gridrouter/tls"
)

// user is who members run as: nobody in particular, and not root.
const user = int64(65532)

// grace is how long a member may take to end: it hands over its leadership and closes its database.
const grace = int64(60)

// PodFacts are what a pod is told that is not of its template, and so not of its hash.
type PodFacts struct {
	// Joined is the value of [AnnotationJoined]; empty: the member has not joined yet.
	Joined string
	// Trust is the value of [AnnotationTrust]; empty: there is no TLS.
	Trust string
	// Alone names the recovery by which the member is made the only one of its cluster; empty: it is not.
	Alone string
}

// Pod is the pod of a member.
func Pod(c *v1alpha1.EtcdCluster, m *v1alpha1.EtcdMember, defaults Defaults, facts PodFacts) *corev1ac.PodApplyConfiguration {
	yes, no, who, seconds := true, false, user, grace
	t := &m.Spec.Template
	pod := corev1.PodSpec{
		Hostname: m.Name, Subdomain: NamesOf(c.Name).Peers, RestartPolicy: corev1.RestartPolicyAlways,
		InitContainers: []corev1.Container{{
			Name: "tools", Image: defaults.ToolsImage, Args: []string{"etcd", "install", toolsFolder},
			VolumeMounts: []corev1.VolumeMount{{Name: "tools", MountPath: toolsFolder}}, SecurityContext: confined(),
		}},
		Containers:         []corev1.Container{container(c, m, defaults, facts)},
		Volumes:            volumes(c, m),
		EnableServiceLinks: &no, AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &seconds,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &who, RunAsGroup: &who, FSGroup: &who,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		NodeSelector: t.Placement.NodeSelector, Tolerations: t.Placement.Tolerations, PriorityClassName: t.Placement.PriorityClass,
		TopologySpreadConstraints: spread(c.Name, t.Placement.Zones),
	}
	about := map[string]string{AnnotationTemplate: Hash(t)}
	for name, value := range map[string]string{AnnotationJoined: facts.Joined, AnnotationTrust: facts.Trust, AnnotationAlone: facts.Alone} {
		if value != "" {
			about[name] = value
		}
	}
	return corev1ac.Pod(m.Name, c.Namespace).WithLabels(memberLabels(c.Name, m.Name)).WithAnnotations(about).
		WithOwnerReferences(owner(c)).WithSpec(podSpec(pod))
}

func podSpec(pod corev1.PodSpec) *corev1ac.PodSpecApplyConfiguration {
	text, err := json.Marshal(&pod)
	if err == nil {
		wanted := &corev1ac.PodSpecApplyConfiguration{}
		if err = json.Unmarshal(text, wanted); err == nil {
			return wanted
		}
	}
	panic("a pod that cannot be written: " + err.Error()) // both have the same fields
}

func confined() *corev1.SecurityContext {
	yes, no := true, false
	return &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
}

func container(c *v1alpha1.EtcdCluster, m *v1alpha1.EtcdMember, defaults Defaults, facts PodFacts) corev1.Container {
	t := &m.Spec.Template
	image := defaults.EtcdImage
	if t.Image != "" {
		image = t.Image
	}
	mounts := []corev1.VolumeMount{
		{Name: "data", MountPath: volumeFolder}, {Name: "tools", MountPath: toolsFolder, ReadOnly: true}, {Name: "pod", MountPath: aboutFolder, ReadOnly: true},
	}
	if t.TLS {
		mounts = append(mounts, corev1.VolumeMount{Name: "tls", MountPath: tlsFolder, ReadOnly: true})
	}
	health := func(path string, every, failures int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("metrics")}},
			PeriodSeconds: every, FailureThreshold: failures, TimeoutSeconds: 5,
		}
	}
	run := []string{toolsFolder + "/gridrouter", "etcd", "run", "--data-dir=" + dataFolder, "--pod-info=" + aboutFolder + "/annotations"}
	if facts.Alone != "" {
		run = append(run, "--force-new-cluster="+facts.Alone)
	}
	return corev1.Container{
		Name: Container, Image: image + ":v" + t.Version,
		Command: append(append(run, "--", "/usr/local/bin/etcd"), args(c, m, defaults)...),
		Ports: []corev1.ContainerPort{
			{Name: "client", ContainerPort: ClientPort}, {Name: "peer", ContainerPort: PeerPort}, {Name: "metrics", ContainerPort: MetricsPort},
		},
		Resources: t.Resources, VolumeMounts: mounts, SecurityContext: confined(),
		// A member that was away may take long to read its log, and to get what it lacks.
		StartupProbe:   health("/livez", 2, 300),
		LivenessProbe:  health("/livez", 10, 6),
		ReadinessProbe: health("/readyz", 2, 3),
	}
}

// args are the flags of etcd.
func args(c *v1alpha1.EtcdCluster, m *v1alpha1.EtcdMember, defaults Defaults) []string {
	state, peers := "existing", strings.Join(m.Status.Peers, ",")
	if m.Spec.Seed {
		state, peers = "new", m.Name+"="+PeerURL(c, m.Name)
	}
	s, host, every := scheme(c), HostOf(c, m.Name), "0.0.0.0"
	if defaults.IPv6 {
		every = "[::]" // which is those of IPv4 too, where there are any
	}
	all := []string{
		"--name=" + m.Name, "--initial-cluster-state=" + state, "--initial-cluster=" + peers,
		"--initial-cluster-token=" + string(c.UID), "--initial-advertise-peer-urls=" + PeerURL(c, m.Name),
		fmt.Sprintf("--listen-peer-urls=%s://%s:%d", s, every, PeerPort), fmt.Sprintf("--listen-client-urls=%s://%s:%d", s, every, ClientPort),
		fmt.Sprintf("--advertise-client-urls=%s://%s:%d", s, host, ClientPort), fmt.Sprintf("--listen-metrics-urls=http://%s:%d", every, MetricsPort),
	}
	if m.Spec.Template.TLS {
		for _, of := range []string{"", "peer-"} {
			all = append(all, "--"+of+"cert-file="+tlsFolder+"/tls.crt", "--"+of+"key-file="+tlsFolder+"/tls.key",
				"--"+of+"trusted-ca-file="+tlsFolder+"/ca.crt", "--"+of+"client-cert-auth=true")
		}
		all = append(all, "--peer-cert-allowed-hostname="+secrets(c).PeersHost()) // which no client's certificate has
	}
	return append(all, m.Spec.Template.Args...)
}

func volumes(c *v1alpha1.EtcdCluster, m *v1alpha1.EtcdMember) []corev1.Volume {
	mode := int32(0o440)
	all := []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: m.Name}}},
		{Name: "tools", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "pod", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "annotations", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations"}},
		}}}},
	}
	if m.Spec.Template.TLS {
		all = append(all, corev1.Volume{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secrets(c).MemberSecret(m.Name), DefaultMode: &mode}}})
	}
	return all
}

// secrets names the Secrets with certificates.
func secrets(c *v1alpha1.EtcdCluster) *pki.Wanted {
	return &pki.Wanted{Cluster: c.Name, Namespace: c.Namespace}
}

// spread spreads members over zones and hosts.
func spread(cluster string, zones v1alpha1.ZoneSpread) []corev1.TopologySpreadConstraint {
	if zones == v1alpha1.ZonesAny {
		return nil
	}
	over := func(key string, otherwise corev1.UnsatisfiableConstraintAction) corev1.TopologySpreadConstraint {
		return corev1.TopologySpreadConstraint{
			MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: otherwise,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{LabelCluster: cluster}},
		}
	}
	otherwise := corev1.ScheduleAnyway
	if zones == v1alpha1.ZonesStrict {
		otherwise = corev1.DoNotSchedule
	}
	return []corev1.TopologySpreadConstraint{over(corev1.LabelTopologyZone, otherwise), over(corev1.LabelHostname, corev1.ScheduleAnyway)}
}
