package vip

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gridrouter.io/deploy/api/v1alpha1"
)

// fleetWith makes a fleet of an age in hours; reason: that of its condition VIPBound, if any.
func fleetWith(name, vip string, hours int, reason v1alpha1.Reason) v1alpha1.GridRouter {
	namespace, name, _ := strings.Cut(name, "/")
	f := v1alpha1.GridRouter{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(namespace + name), CreationTimestamp: metav1.NewTime(now.Add(-time.Duration(hours) * time.Hour)),
	}}
	f.Spec.Exposure = v1alpha1.Exposure{Type: v1alpha1.ExposureLVS, VIP: vip}
	if reason != "" {
		v1alpha1.SetCondition(&f.Status.Conditions, 1, v1alpha1.ConditionVIPBound, metav1.ConditionFalse, reason, "")
	}
	return f
}

func TestTheOlderFleetKeepsTheVIP(t *testing.T) {
	f := func(want string, all ...v1alpha1.GridRouter) {
		t.Helper()
		for i := range all { // all agree on who has it
			holder := Holder(&all[i], all)
			name := all[i].Namespace + "/" + all[i].Name
			if holder != nil {
				name = holder.Namespace + "/" + holder.Name
			}
			if all[i].Spec.Exposure.VIP == all[0].Spec.Exposure.VIP && name != want {
				t.Errorf("for %s it is %s, want %s", all[i].Name, name, want)
			}
		}
	}
	const bound, inUse, empty = v1alpha1.ReasonBound, v1alpha1.ReasonVIPInUse, v1alpha1.ReasonNoRealServers
	f("a/x", fleetWith("a/x", "10.9.0.10", 1, ""))
	f("a/x", fleetWith("a/x", "10.9.0.10", 1, ""), fleetWith("b/y", "10.9.0.11", 9, bound))
	f("b/y", fleetWith("a/x", "10.9.0.10", 1, ""), fleetWith("b/y", "10.9.0.10", 2, ""))
	f("b/y", fleetWith("a/x", "10.9.0.10", 1, inUse), fleetWith("b/y", "10.9.0.10", 2, bound))
	f("a/x", fleetWith("a/x", "10.9.0.10", 1, bound), fleetWith("b/y", "10.9.0.10", 2, ""))
	f("a/x", fleetWith("a/x", "10.9.0.10", 1, empty), fleetWith("b/y", "10.9.0.10", 2, inUse))
	f("a/x", fleetWith("a/x", "10.9.0.10", 1, ""), fleetWith("b/y", "10.9.0.10", 1, ""), fleetWith("a/z", "10.9.0.10", 1, ""))
	f("b/y", fleetWith("a/x", "fd00::10", 1, ""), fleetWith("b/y", "fd00::10", 2, ""))

	old := fleetWith("b/y", "10.9.0.10", 9, bound)
	old.Spec.Exposure.Type = v1alpha1.ExposureClusterIP
	if young := fleetWith("a/x", "10.9.0.10", 1, ""); Holder(&young, []v1alpha1.GridRouter{young, old}) != nil {
		t.Error("a fleet without LVS has a VIP")
	}
	same := fleetWith("b/y", "fd00:0:0::10", 9, "")
	if young := fleetWith("a/x", "fd00::10", 1, ""); Holder(&young, []v1alpha1.GridRouter{young, same}) == nil {
		t.Error("another form of an address is another address")
	}
	if bad := fleetWith("a/x", "nonsense", 1, ""); Holder(&bad, []v1alpha1.GridRouter{bad, fleetWith("b/y", "nonsense", 9, "")}) != nil {
		t.Error("what is no VIP is in use")
	}
}

func TestTheConditionSaysWhatLVSDoes(t *testing.T) {
	f := func(servers string, ready int, holder *v1alpha1.GridRouter, err error, status metav1.ConditionStatus, reason v1alpha1.Reason, words string) {
		t.Helper()
		gotStatus, gotReason, message := Bound("10.9.0.10", serversOf(t, servers), ready, holder, err)
		if gotStatus != status || gotReason != reason || !strings.Contains(message, words) || len(message) > 1024 {
			t.Errorf("%s %s %q, want %s %s %q", gotStatus, gotReason, message, status, reason, words)
		}
	}
	other := fleetWith("b/y", "10.9.0.10", 9, "")
	f("10.0.0.1:80 100", 1, nil, nil, metav1.ConditionTrue, v1alpha1.ReasonBound, "is forwarded to the routers that are ready")
	f("10.0.0.1:80 1", 1, nil, nil, metav1.ConditionTrue, v1alpha1.ReasonBound, "is forwarded to the routers that are ready")
	f("10.0.0.1:80 0", 1, nil, nil, metav1.ConditionFalse, v1alpha1.ReasonNoRealServers, "no router is ready")
	f("10.0.0.1:80 100", 0, nil, nil, metav1.ConditionFalse, v1alpha1.ReasonNoRealServers, "no router is ready")
	f("", 0, nil, nil, metav1.ConditionFalse, v1alpha1.ReasonNoRealServers, "no router is ready")
	f("10.0.0.1:80 100", 1, &other, errors.New("x"), metav1.ConditionFalse, v1alpha1.ReasonVIPInUse, "fleet y in namespace b has 10.9.0.10")
	f("10.0.0.1:80 100", 1, nil, errors.New(strings.Repeat("x", 5000)), metav1.ConditionFalse, v1alpha1.ReasonProviderFailed, "xxx")

	many := make([]v1alpha1.RealServer, MaxRealServers)
	for i := range many {
		many[i] = v1alpha1.RealServer{Address: "10.0.0.1:80", Weight: 100}
	}
	if status, _, message := Bound("10.9.0.10", many, 2000, nil, nil); status != metav1.ConditionTrue || !strings.Contains(message, "1 of 2000 ready routers") {
		t.Errorf("%s %q", status, message)
	}
}
