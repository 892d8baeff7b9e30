package render

import (
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	autoscalingv2ac "k8s.io/client-go/applyconfigurations/autoscaling/v2"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

// Owner is the fleet that objects are made for.
type Owner struct {
	Fleet *v1alpha1.GridRouter
	// Remote says that they lie in another cluster, where nothing can refer to the fleet.
	Remote bool
}

func (o Owner) references() []*metav1ac.OwnerReferenceApplyConfiguration {
	if o.Remote {
		return nil
	}
	return []*metav1ac.OwnerReferenceApplyConfiguration{metav1ac.OwnerReference().
		WithAPIVersion(v1alpha1.SchemeGroupVersion.String()).WithKind("GridRouter").WithName(o.Fleet.Name).WithUID(o.Fleet.UID).
		WithController(true).WithBlockOwnerDeletion(true)}
}

// The metrics of routers that autoscalers read, from the operator's metrics API.
const (
	MetricRequests = "gridrouter_requests_per_second"
	MetricCPU      = "gridrouter_cpu_cores"
)

// replicaSetsKept is how many old ReplicaSets a Deployment keeps: revisions are kept by ControllerRevisions.
const replicaSetsKept = 2

// Deployment is one of the fleet's two Deployments. replicas nil leaves the number to whoever has it.
func Deployment(o Owner, track Track, t corev1.PodTemplateSpec, replicas *int32) *appsv1ac.DeploymentApplyConfiguration {
	name := NamesOf(o.Fleet.Name).Stable
	if track == TrackCanary {
		name = NamesOf(o.Fleet.Name).Canary
	}
	about := labels(o.Fleet.Name)
	about[LabelTrack] = string(track)
	t = *t.DeepCopy()
	t.Labels[LabelTrack] = string(track)
	rollout := &o.Fleet.Spec.Rollout
	deadline := 10 * time.Minute
	if rollout.ProgressDeadline != nil {
		deadline = rollout.ProgressDeadline.Duration
	}
	spec := appsv1ac.DeploymentSpec().
		WithSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{LabelFleet: o.Fleet.Name, LabelTrack: string(track)})).
		WithTemplate(podTemplate(t)).WithRevisionHistoryLimit(replicaSetsKept).WithProgressDeadlineSeconds(int32((deadline + time.Second - 1) / time.Second)).
		WithStrategy(appsv1ac.DeploymentStrategy().WithType(appsv1.RollingUpdateDeploymentStrategyType).WithRollingUpdate(appsv1ac.RollingUpdateDeployment().
			WithMaxSurge(*intstr.ValueOrDefault(rollout.MaxSurge, intstr.FromInt32(1))).WithMaxUnavailable(*intstr.ValueOrDefault(rollout.MaxUnavailable, intstr.FromInt32(0)))))
	if replicas != nil {
		spec.WithReplicas(*replicas)
	}
	return appsv1ac.Deployment(name, o.Fleet.Namespace).WithLabels(about).WithOwnerReferences(o.references()...).WithSpec(spec)
}

// podTemplate writes a template as it was stored.
func podTemplate(t corev1.PodTemplateSpec) *corev1ac.PodTemplateSpecApplyConfiguration {
	text, err := json.Marshal(&t)
	if err == nil {
		wanted := &corev1ac.PodTemplateSpecApplyConfiguration{}
		if err = json.Unmarshal(text, wanted); err == nil {
			for i := range wanted.Spec.Containers {
				if c := &wanted.Spec.Containers[i]; c.Resources != nil && c.Resources.Limits == nil && c.Resources.Requests == nil {
					c.Resources = nil
				}
			}
			return wanted
		}
	}
	panic("a pod template that cannot be written: " + err.Error()) // both have the same fields
}

// Service leads to the ready routers of both tracks; pods are those that there are of the fleet.
func Service(o Owner, pods []corev1.Pod) *corev1ac.ServiceApplyConfiguration {
	spec := corev1ac.ServiceSpec().WithSelector(map[string]string{LabelFleet: o.Fleet.Name}).WithType(corev1.ServiceTypeClusterIP)
	if o.Fleet.Spec.Exposure.Type == v1alpha1.ExposureLoadBalancer {
		// Local: routers see the addresses of clients, which rules may decide by.
		spec.WithType(corev1.ServiceTypeLoadBalancer).WithExternalTrafficPolicy(corev1.ServiceExternalTrafficPolicyLocal)
	}
	for _, l := range o.Fleet.Spec.Listeners {
		spec.WithPorts(corev1ac.ServicePort().WithName(servicePort(l)).WithPort(l.Port).WithTargetPort(targetPort(l, pods)).WithProtocol(corev1.ProtocolTCP))
	}
	return corev1ac.Service(NamesOf(o.Fleet.Name).Service, o.Fleet.Namespace).WithLabels(labels(o.Fleet.Name)).WithOwnerReferences(o.references()...).WithSpec(spec)
}

// servicePort is the name of a listener's port in the Service. It is of the number and not of the listener's
// name: a port that gets another name has no endpoints until all that follow the Service have seen both.
func servicePort(l v1alpha1.Listener) string {
	if l.TLSSecret != "" {
		return fmt.Sprintf("https-%d", l.Port)
	}
	return fmt.Sprintf("http-%d", l.Port)
}

// targetPort says how the Service finds a listener's port in pods: by its name, which holds while the number
// changes from some pods to others; by its number, while only that is the same in all of them.
func targetPort(l v1alpha1.Listener, pods []corev1.Pod) intstr.IntOrString {
	named, numbered := true, true
	for i := range pods {
		if pods[i].DeletionTimestamp != nil {
			continue // it is drained, and gets no new clients
		}
		var name, number bool
		for _, c := range pods[i].Spec.Containers {
			for _, port := range c.Ports {
				name, number = name || port.Name == l.Name, number || port.ContainerPort == l.Port
			}
		}
		named, numbered = named && name, numbered && number
	}
	if numbered && !named {
		return intstr.FromInt32(l.Port)
	}
	return intstr.FromString(l.Name)
}

// ServiceAccount is what routers run as. They use no API of Kubernetes, so it has no rights and no token.
func ServiceAccount(o Owner) *corev1ac.ServiceAccountApplyConfiguration {
	return corev1ac.ServiceAccount(NamesOf(o.Fleet.Name).ServiceAccount, o.Fleet.Namespace).WithLabels(labels(o.Fleet.Name)).
		WithOwnerReferences(o.references()...).WithAutomountServiceAccountToken(false)
}

// AdminSecret has the token of the routers' admin endpoints.
func AdminSecret(o Owner, token string) *corev1ac.SecretApplyConfiguration {
	return corev1ac.Secret(NamesOf(o.Fleet.Name).AdminSecret, o.Fleet.Namespace).WithLabels(labels(o.Fleet.Name)).
		WithOwnerReferences(o.references()...).WithType(corev1.SecretTypeOpaque).WithData(map[string][]byte{AdminTokenKey: []byte(token)})
}

// DisruptionBudget bounds what node drains take away.
func DisruptionBudget(o Owner) *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	away := intstr.ValueOrDefault(o.Fleet.Spec.Disruption.MaxUnavailable, intstr.FromInt32(1))
	return policyv1ac.PodDisruptionBudget(NamesOf(o.Fleet.Name).DisruptionBudget, o.Fleet.Namespace).WithLabels(labels(o.Fleet.Name)).
		WithOwnerReferences(o.references()...).WithSpec(policyv1ac.PodDisruptionBudgetSpec().WithMaxUnavailable(*away).
		WithSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{LabelFleet: o.Fleet.Name})))
}

// calm is for how many seconds less load must last before routers are taken away.
const calm = 60

// Autoscaler lets the number of stable routers follow the load; nil: the spec has a number.
func Autoscaler(o Owner) *autoscalingv2ac.HorizontalPodAutoscalerApplyConfiguration {
	auto := o.Fleet.Spec.Autoscaling
	if auto == nil {
		return nil
	}
	names := NamesOf(o.Fleet.Name)
	spec := autoscalingv2ac.HorizontalPodAutoscalerSpec().WithMinReplicas(auto.Min).WithMaxReplicas(auto.Max).
		WithScaleTargetRef(autoscalingv2ac.CrossVersionObjectReference().WithAPIVersion("apps/v1").WithKind("Deployment").WithName(names.Stable)).
		WithBehavior(autoscalingv2ac.HorizontalPodAutoscalerBehavior().WithScaleDown(autoscalingv2ac.HPAScalingRules().WithStabilizationWindowSeconds(calm)))
	average := func(metric string, each resource.Quantity) {
		spec.WithMetrics(autoscalingv2ac.MetricSpec().WithType(autoscalingv2.PodsMetricSourceType).WithPods(autoscalingv2ac.PodsMetricSource().
			WithMetric(autoscalingv2ac.MetricIdentifier().WithName(metric)).
			WithTarget(autoscalingv2ac.MetricTarget().WithType(autoscalingv2.AverageValueMetricType).WithAverageValue(each))))
	}
	if auto.RequestsPerSecond != nil {
		average(MetricRequests, *resource.NewQuantity(int64(*auto.RequestsPerSecond), resource.DecimalSI))
	}
	if cores := requestedCPU(o.Fleet); auto.CPUPercent != nil && !cores.IsZero() {
		average(MetricCPU, *resource.NewMilliQuantity(max(1, cores.MilliValue()*int64(*auto.CPUPercent)/100), resource.DecimalSI))
	}
	return autoscalingv2ac.HorizontalPodAutoscaler(names.Autoscaler, o.Fleet.Namespace).WithLabels(labels(o.Fleet.Name)).
		WithOwnerReferences(o.references()...).WithSpec(spec)
}

// requestedCPU is what a router requests; where only a limit is set, Kubernetes requests that.
func requestedCPU(fleet *v1alpha1.GridRouter) resource.Quantity {
	if cores, set := fleet.Spec.Resources.Requests[corev1.ResourceCPU]; set {
		return cores
	}
	return fleet.Spec.Resources.Limits[corev1.ResourceCPU]
}

// storedRevision is the data of a ControllerRevision.
type storedRevision struct {
	Input    Input                  `json:"input"`
	Template corev1.PodTemplateSpec `json:"template"`
}

// Revision stores a revision: what its pods are made from, and the template that was rendered for it.
func Revision(o Owner, number int64, in Input, t corev1.PodTemplateSpec) *appsv1ac.ControllerRevisionApplyConfiguration {
	text, err := json.Marshal(storedRevision{in, t})
	if err != nil {
		panic("a revision that cannot be written: " + err.Error()) // it has only types of JSON
	}
	about := labels(o.Fleet.Name)
	about[LabelRevision] = in.Hash()
	return appsv1ac.ControllerRevision(NamesOf(o.Fleet.Name).RevisionPrefix+in.Hash(), o.Fleet.Namespace).WithLabels(about).
		WithOwnerReferences(o.references()...).WithRevision(number).WithData(runtime.RawExtension{Raw: text})
}

// ReadRevision reads what [Revision] stored.
func ReadRevision(stored *appsv1.ControllerRevision) (Input, corev1.PodTemplateSpec, error) {
	var read storedRevision
	if err := json.Unmarshal(stored.Data.Raw, &read); err != nil {
		return Input{}, corev1.PodTemplateSpec{}, fmt.Errorf("its data cannot be read: %w", err)
	}
	if hash := read.Input.Hash(); len(read.Template.Spec.Containers) == 0 || read.Template.Labels[LabelRevision] == "" || stored.Labels[LabelRevision] != read.Template.Labels[LabelRevision] {
		return Input{}, corev1.PodTemplateSpec{}, fmt.Errorf("its data is not that of revision %s: delete it, and the next change of the spec makes another", hash)
	}
	return read.Input, read.Template, nil
}
