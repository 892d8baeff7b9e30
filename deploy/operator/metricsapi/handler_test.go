package metricsapi_test

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/operator/metricsapi"
	"gridrouter.io/deploy/operator/routermetrics"
)

func numbers() http.Handler {
	return metricsapi.NewHandler(metricsapi.Source{
		Pods: func(context.Context, string) ([]metricsapi.Pod, error) {
			return []metricsapi.Pod{
				{Namespace: "shop", Name: "a", UID: "1", Labels: map[string]string{"track": "stable"}},
				{Namespace: "shop", Name: "b", UID: "2", Labels: map[string]string{"track": "canary"}},
				{Namespace: "shop", Name: "unknown", UID: "3"},
			}, nil
		},
		Rate: func(pod metricsapi.Pod) (routermetrics.Rate, bool) {
			uid := string(pod.UID)
			return routermetrics.Rate{At: time.Unix(1_800_000_000, 0), Window: 30 * time.Second, RequestsPerSecond: 12.5, CPUCores: math.NaN()}, uid != "3"
		},
	})
}

func TestWhatIsAskedForIsAnswered(t *testing.T) {
	const list = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/gridrouter_requests_per_second"
	row := func(method, path, accept string, code int, says string) {
		t.Helper()
		request := httptest.NewRequest(method, path, nil)
		if accept != "" {
			request.Header.Set("Accept", accept)
		}
		out := httptest.NewRecorder()
		numbers().ServeHTTP(out, request)
		if out.Code != code || !strings.Contains(out.Body.String(), says) || !json.Valid(out.Body.Bytes()) {
			t.Errorf("%s %s (%s): %d %s; want %d with %s", method, path, accept, out.Code, out.Body, code, says)
		}
	}
	row("GET", "/apis/custom.metrics.k8s.io", "", 200, `"preferredVersion":{"groupVersion":"custom.metrics.k8s.io/v1beta2"`)
	row("GET", list, "", 200, `"value":"12500m"`)
	row("GET", strings.Replace(list, "v1beta2", "v1beta1", 1), "", 200, `"metricName":"gridrouter_requests_per_second"`)
	row("GET", strings.Replace(list, "v1beta2", "v1", 1), "", 404, `"kind":"Status"`)
	row("GET", list+"?labelSelector=track%3Dcanary", "", 200, `"items":[{"describedObject":{"kind":"Pod","namespace":"shop","name":"b"`)
	row("GET", list+"?labelSelector=track+in+(x)", "", 200, `"items":[]`)
	row("GET", list+"?labelSelector=((", "", 400, "labelSelector")
	row("GET", list+"?metricLabelSelector=((", "", 400, "metricLabelSelector")
	row("GET", list+"?metricLabelSelector=deck%3Dd", "", 200, `"items":[]`)
	row("GET", strings.Replace(list, "*", "a", 1), "", 200, `"name":"a"`)
	row("GET", strings.Replace(list, "*", "unknown", 1), "", 404, "NotFound")
	row("GET", strings.Replace(list, "requests_per_second", "cpu_cores", 1), "", 200, `"items":[]`) // NaN is no number
	row("GET", strings.Replace(list, "requests_per_second", "other", 1), "", 404, "NotFound")
	row("GET", "/openapi/v2", "", 404, "NotFound")
	row("POST", list, "", 405, "MethodNotAllowed")
	row("GET", list, "application/vnd.kubernetes.protobuf, */*", 200, "12500m")
	row("GET", list, "application/vnd.kubernetes.protobuf,application/json", 200, "12500m")
	row("GET", list, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 200, "12500m")
	row("GET", list, "application/json;as=Table;v=v1;g=meta.k8s.io", 406, "only application/json")
	row("GET", list, "application/vnd.kubernetes.protobuf", 406, "only application/json")
	row("GET", list, "application/json;q=0", 406, "only application/json")
}

func FuzzHandler(f *testing.F) {
	f.Add("shop", "*", "gridrouter_requests_per_second", "a=b", "", "application/json")
	f.Add("", "..", "%", "a in (b,c),!d", "x", ";;,q=")
	f.Fuzz(func(t *testing.T, namespace, pod, metric, of, ofMetric, accept string) {
		path := "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + url.PathEscape(namespace) + "/pods/" + url.PathEscape(pod) + "/" + url.PathEscape(metric)
		request := httptest.NewRequest(http.MethodGet, path+"?"+url.Values{"labelSelector": {of}, "metricLabelSelector": {ofMetric}}.Encode(), nil)
		request.Header.Set("Accept", accept)
		out := httptest.NewRecorder()
		numbers().ServeHTTP(out, request)
		if out.Code >= 500 || out.Code >= 400 && !strings.Contains(out.Body.String(), `"kind":"Status"`) {
			t.Fatalf("%d %s", out.Code, out.Body)
		}
	})
}
