// Package metricsapi is the API custom.metrics.k8s.io for the pods of router fleets: how many requests a
// router ends in a second, and how many processors it keeps busy. Horizontal pod autoscalers ask it, through
// the aggregator of the API server, which is the only one that is let in.
package metricsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"mime"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"gridrouter.io/deploy/operator/routermetrics"
)

// The metrics of a pod.
const (
	// RequestsPerSecond is how many requests the router ends in a second.
	RequestsPerSecond = "gridrouter_requests_per_second"
	// CPUCores is how many processors it keeps busy; 0.5 is half of one.
	CPUCores = "gridrouter_cpu_cores"
)

// Group is the API's.
const Group = "custom.metrics.k8s.io"

// Pod is one of a fleet.
type Pod struct {
	Namespace, Name string
	UID             types.UID
	Labels          map[string]string
}

// Source is where the numbers come from. Its functions may be called at once, and must not wait for routers.
type Source struct {
	// Pods lists the routers of a namespace.
	Pods func(ctx context.Context, namespace string) ([]Pod, error)
	// Rate is what a pod does in a second; false where that is not known.
	Rate func(pod Pod) (routermetrics.Rate, bool)
}

var versions = []string{"v1beta2", "v1beta1"} // the preferred one first

// NewHandler returns the API without its authentication, which [Server] adds.
func NewHandler(from Source) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/"+Group, func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, group()) })
	for _, version := range versions {
		root := "/apis/" + Group + "/" + version
		mux.HandleFunc("GET "+root, func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, resources(version)) })
		mux.HandleFunc("GET "+root+"/namespaces/{namespace}/pods/{pod}/{metric}", func(w http.ResponseWriter, r *http.Request) {
			from.serve(w, r, version)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, pattern := mux.Handler(r); {
		case r.Method != http.MethodGet:
			fail(w, apierrors.NewMethodNotSupported(schema.GroupResource{Group: Group, Resource: "pods"}, r.Method))
		case pattern == "":
			fail(w, apierrors.NewGenericServerResponse(http.StatusNotFound, "get", schema.GroupResource{}, "", "the server has metrics of pods alone: /apis/"+Group+"/v1beta2/namespaces/NAMESPACE/pods/NAME or */METRIC", 0, false))
		case !takesJSON(r.Header.Values("Accept")):
			fail(w, apierrors.NewGenericServerResponse(http.StatusNotAcceptable, "get", schema.GroupResource{}, "", "only application/json is offered", 0, true))
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// takesJSON says whether a client that accepts these takes JSON of the object itself. Autoscalers like
// protobuf better, and take JSON too; what is marked by "as" are other objects, such as tables.
func takesJSON(accept []string) bool {
	all := strings.TrimSpace(strings.Join(accept, ","))
	if all == "" {
		return true
	}
	for part := range strings.SplitSeq(all, ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil || parameters["as"] != "" || strings.Trim(parameters["q"], "0.") == "" && parameters["q"] != "" {
			continue
		}
		if kind == "*/*" || kind == "application/*" || kind == "application/json" {
			return true
		}
	}
	return false
}

func (s Source) serve(w http.ResponseWriter, r *http.Request, version string) {
	metric, name := r.PathValue("metric"), r.PathValue("pod")
	if metric != RequestsPerSecond && metric != CPUCores {
		fail(w, apierrors.NewNotFound(schema.GroupResource{Group: Group, Resource: "pods"}, metric))
		return
	}
	query := r.URL.Query()
	ofPods, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		fail(w, apierrors.NewBadRequest("labelSelector: "+err.Error()))
		return
	}
	ofMetric, err := metav1.ParseToLabelSelector(query.Get("metricLabelSelector"))
	if err != nil {
		fail(w, apierrors.NewBadRequest("metricLabelSelector: "+err.Error()))
		return
	}
	pods, err := s.Pods(r.Context(), r.PathValue("namespace"))
	if err != nil {
		fail(w, apierrors.NewServiceUnavailable("the pods cannot be listed: "+err.Error()))
		return
	}
	values := []v1beta2.MetricValue{}
	for _, pod := range pods {
		if (name != v1beta2.AllObjects && name != pod.Name) || !ofPods.Matches(labels.Set(pod.Labels)) {
			continue
		}
		if value, known := s.value(pod, metric, ofMetric); known {
			values = append(values, value)
		}
	}
	if name != v1beta2.AllObjects && len(values) == 0 {
		fail(w, apierrors.NewNotFound(schema.GroupResource{Group: Group, Resource: "pods/" + metric}, name))
		return
	}
	show(w, http.StatusOK, list(values, version))
}

// value is one number of a pod. The metrics have no labels: a selector that asks for some matches nothing.
func (s Source) value(pod Pod, metric string, of *metav1.LabelSelector) (v1beta2.MetricValue, bool) {
	selector, err := metav1.LabelSelectorAsSelector(of)
	if err != nil || !selector.Matches(labels.Set{}) {
		return v1beta2.MetricValue{}, false
	}
	rate, known := s.Rate(pod)
	number := rate.RequestsPerSecond
	if metric == CPUCores {
		number = rate.CPUCores
	}
	if !known || !(number >= 0 && number < math.MaxInt64/2000) {
		return v1beta2.MetricValue{}, false
	}
	window := int64(math.Round(rate.Window.Seconds()))
	value := v1beta2.MetricValue{
		DescribedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Metric:          v1beta2.MetricIdentifier{Name: metric},
		Timestamp:       metav1.NewTime(rate.At), WindowSeconds: &window,
		Value: *resource.NewMilliQuantity(int64(math.Round(number*1000)), resource.DecimalSI),
	}
	if !selector.Empty() {
		value.Metric.Selector = of
	}
	return value, true
}

// list puts values into the form of a version.
func list(values []v1beta2.MetricValue, version string) any {
	kind := metav1.TypeMeta{Kind: "MetricValueList", APIVersion: Group + "/" + version}
	if version == "v1beta2" {
		return v1beta2.MetricValueList{TypeMeta: kind, Items: values}
	}
	old := v1beta1.MetricValueList{TypeMeta: kind, Items: []v1beta1.MetricValue{}}
	for _, v := range values {
		old.Items = append(old.Items, v1beta1.MetricValue{
			DescribedObject: v.DescribedObject, MetricName: v.Metric.Name, Timestamp: v.Timestamp,
			WindowSeconds: v.WindowSeconds, Value: v.Value, Selector: v.Metric.Selector,
		})
	}
	return old
}

func group() metav1.APIGroup {
	g := metav1.APIGroup{TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: Group}
	for _, version := range versions {
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: Group + "/" + version, Version: version})
	}
	g.PreferredVersion = g.Versions[0]
	return g
}

func resources(version string) metav1.APIResourceList {
	out := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: Group + "/" + version}
	for _, metric := range []string{RequestsPerSecond, CPUCores} {
		out.APIResources = append(out.APIResources, metav1.APIResource{
			Name: "pods/" + metric, Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"},
		})
	}
	return out
}

func fail(w http.ResponseWriter, err *apierrors.StatusError) {
	status := err.Status()
	status.Kind, status.APIVersion = "Status", "v1"
	show(w, int(status.Code), status)
}

func show(w http.ResponseWriter, code int, object any) {
	text, err := json.Marshal(object)
	if err != nil { // nothing that is shown can fail
		code, text = http.StatusInternalServerError, fmt.Appendf(nil, `{"kind":"Status","apiVersion":"v1","code":500,"message":%q}`, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(text)
}
