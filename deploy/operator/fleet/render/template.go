package render

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"gridrouter.io/deploy/api/v1alpha1"
)

// Where a router finds its files.
const (
	adminFolder = "/etc/gridrouter/admin"
	etcdFolder  = "/etc/gridrouter/etcd"
	tlsFolder   = "/etc/gridrouter/tls"
	stateFolder = "/var/lib/gridrouter"
)

// user is who routers run as: nobody in particular, and not root.
const user = int64(65532)

// margin is how much longer a pod may take to end than its router takes to drain at most.
const margin = 10 * time.Second

// Template renders the pods of a revision. Its labels lack the track, which each Deployment adds.
func Template(fleet string, in Input) corev1.PodTemplateSpec {
	delay, timeout := in.drain()
	grace := int64((delay + timeout + margin + time.Second - 1) / time.Second)
	yes, no, group := true, false, user
	about := labels(fleet)
	about[LabelRevision] = in.Hash()
	pod := corev1.PodSpec{
		Containers: []corev1.Container{in.container()}, Volumes: in.volumes(fleet),
		ServiceAccountName: NamesOf(fleet).ServiceAccount, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
		TerminationGracePeriodSeconds: &grace,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &group, RunAsGroup: &group, FSGroup: &group,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		NodeSelector: in.NodeSelector, Tolerations: in.Tolerations, PriorityClassName: in.PriorityClass,
		TopologySpreadConstraints: in.spread(fleet),
	}
	if slices.ContainsFunc(in.Listeners, func(l v1alpha1.Listener) bool { return l.Port < 1024 }) {
		pod.SecurityContext.Sysctls = []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}}
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: about}, Spec: pod}
}

func (in *Input) container() corev1.Container {
	yes, no := true, false
	c := corev1.Container{
		Name: Container, Image: in.ImageName() + ":" + in.Version, Args: in.args(), Resources: in.Resources,
		Env: []corev1.EnvVar{
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
			{Name: "STATE_DIRECTORY", Value: stateFolder},
		},
		ReadinessProbe: probe("/readyz", 1, 2), LivenessProbe: probe("/healthz", 10, 6),
		VolumeMounts: []corev1.VolumeMount{{Name: "state", MountPath: stateFolder}, {Name: "admin", MountPath: adminFolder, ReadOnly: true}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	for _, l := range in.Listeners {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: l.Name, ContainerPort: l.Port, Protocol: corev1.ProtocolTCP})
	}
	c.Ports = append(c.Ports,
		corev1.ContainerPort{Name: portName(in.Listeners, "admin"), ContainerPort: AdminPort, Protocol: corev1.ProtocolTCP},
		corev1.ContainerPort{Name: portName(in.Listeners, "health"), ContainerPort: HealthPort, Protocol: corev1.ProtocolTCP})
	if len(in.EtcdKeys) > 0 {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "etcd", MountPath: etcdFolder, ReadOnly: true})
	}
	if in.has(corev1.BasicAuthUsernameKey) {
		c.Env = append(c.Env, corev1.EnvVar{Name: "GRIDROUTER_ETCD_USER", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: in.EtcdSecret}, Key: corev1.BasicAuthUsernameKey,
		}}})
	}
	if len(in.tlsSecrets()) > 0 {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "tls", MountPath: tlsFolder, ReadOnly: true})
	}
	return c
}

// portName is a name for a port of ours that no listener has.
func portName(listeners []v1alpha1.Listener, name string) string {
	for slices.ContainsFunc(listeners, func(l v1alpha1.Listener) bool { return l.Name == name }) {
		name = "router-" + name
	}
	return name
}

func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(HealthPort), Scheme: corev1.URISchemeHTTP}},
		PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 5,
	}
}

func (in *Input) has(key string) bool { return slices.Contains(in.EtcdKeys, key) }

// args are the flags of "gridrouter serve". They stand in the pod, where kubectl describe shows them, and
// not in a ConfigMap, whose change would reach running pods without a rollout.
func (in *Input) args() []string {
	args := []string{"serve"}
	if len(in.tlsSecrets()) > 0 && !slices.ContainsFunc(in.Listeners, func(l v1alpha1.Listener) bool { return l.TLSSecret == "" }) {
		args = append(args, "--listen=") // else there would be the default one, without TLS
	}
	for _, l := range in.Listeners {
		flag := "--listen"
		if l.TLSSecret != "" {
			flag = "--listen-tls"
		}
		args = append(args, fmt.Sprintf("%s=:%d", flag, l.Port))
	}
	if len(in.tlsSecrets()) > 0 {
		args = append(args, "--tls-cert="+tlsFolder)
	}
	args = append(args,
		fmt.Sprintf("--admin=:%d", AdminPort), "--admin-token-file="+path.Join(adminFolder, AdminTokenKey), fmt.Sprintf("--health=:%d", HealthPort),
		"--router-id=$(POD_NAME)", "--etcd="+strings.Join(in.Etcd, ","))
	for _, file := range []struct{ flag, key string }{
		{"--etcd-ca", corev1.ServiceAccountRootCAKey}, {"--etcd-cert", corev1.TLSCertKey}, {"--etcd-key", corev1.TLSPrivateKeyKey}, {"--etcd-password-file", corev1.BasicAuthPasswordKey},
	} {
		if in.has(file.key) {
			args = append(args, file.flag+"="+path.Join(etcdFolder, file.key))
		}
	}
	args = append(args, "--prefix="+strings.ReplaceAll(in.Prefix, "$(", "$$("))
	if len(in.GSLB) > 0 {
		args = append(args, "--gslb="+strings.Join(in.GSLB, ","))
	}
	args = append(args, "--drain-delay="+in.DrainDelay, "--drain-timeout="+in.DrainTimeout)
	return append(args, escaped(in.Args)...)
}

// escaped keeps Kubernetes from replacing $(NAME) in flags of the spec by a variable.
func escaped(args []string) []string {
	all := make([]string, len(args))
	for i, arg := range args {
		all[i] = strings.ReplaceAll(arg, "$(", "$$(")
	}
	return all
}

// tlsSecrets are the Secrets with certificates, each once, in the order of the listeners.
func (in *Input) tlsSecrets() []string {
	var all []string
	for _, l := range in.Listeners {
		if l.TLSSecret != "" && !slices.Contains(all, l.TLSSecret) {
			all = append(all, l.TLSSecret)
		}
	}
	return all
}

// volumes are a place for the snapshot, which outlives the container, and the Secrets as files, which are
// renewed in place.
func (in *Input) volumes(fleet string) []corev1.Volume {
	mode := int32(0o440)
	secret := func(name string) *corev1.SecretVolumeSource {
		return &corev1.SecretVolumeSource{SecretName: name, DefaultMode: &mode}
	}
	all := []corev1.Volume{
		{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "admin", VolumeSource: corev1.VolumeSource{Secret: secret(NamesOf(fleet).AdminSecret)}},
	}
	if len(in.EtcdKeys) > 0 {
		all = append(all, corev1.Volume{Name: "etcd", VolumeSource: corev1.VolumeSource{Secret: secret(in.EtcdSecret)}})
	}
	certificates := make([]corev1.VolumeProjection, 0, len(in.tlsSecrets()))
	for _, name := range in.tlsSecrets() {
		certificates = append(certificates, corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: name},
			Items:                []corev1.KeyToPath{{Key: corev1.TLSCertKey, Path: name + ".crt"}, {Key: corev1.TLSPrivateKeyKey, Path: name + ".key"}},
		}})
	}
	if len(certificates) > 0 {
		all = append(all, corev1.Volume{Name: "tls", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: certificates, DefaultMode: &mode}}})
	}
	return all
}

// spread spreads the routers of one revision over zones and hosts.
func (in *Input) spread(fleet string) []corev1.TopologySpreadConstraint {
	if in.Zones == v1alpha1.ZonesAny {
		return nil
	}
	over := func(key string, otherwise corev1.UnsatisfiableConstraintAction) corev1.TopologySpreadConstraint {
		return corev1.TopologySpreadConstraint{
			MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: otherwise,
			LabelSelector:  &metav1.LabelSelector{MatchLabels: map[string]string{LabelFleet: fleet}},
			MatchLabelKeys: []string{"pod-template-hash"},
		}
	}
	zones := corev1.ScheduleAnyway
	if in.Zones == v1alpha1.ZonesStrict {
		zones = corev1.DoNotSchedule
	}
	return []corev1.TopologySpreadConstraint{over(corev1.LabelTopologyZone, zones), over(corev1.LabelHostname, corev1.ScheduleAnyway)}
}
