package clusters_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
)

// TestClusters runs what needs API servers: one is the cluster of the operator, the other a remote one.
func TestClusters(t *testing.T) {
	if os.Getenv(kubetest.Assets) == "" {
		t.Skip("needs API servers: set " + kubetest.Assets)
	}
	s := &servers{scheme: newScheme(t)}
	s.local, s.remote = kubetest.Start(t), kubetest.Start(t)
	for name, test := range map[string]func(*testing.T, *servers){
		"TheEmptyNameIsTheClusterOfTheOperator": testLocal,
		"CachesAreFilledWhenSomebodyAsks":       testLazy,
		"ARotatedSecretReplacesTheCluster":      testRotation,
		"AClusterThatGoesAwayAndComesBack":      testOutage,
		"AClusterThatMoves":                     testMove,
		"ASilentClusterBlocksNobody":            testSilence,
		"CachesThatCannotBeFilledBlockNobody":   testForbidden,
		"WhatIsWrongStandsInTheStatus":          testReasons,
		"ADeletedConnectionIsStopped":           testDeletion,
		"TwoConnectionsToOneServer":             testTwo,
		"AtRestNothingIsWritten":                testRest,
		"AppliedObjectsComeBackTyped":           testApply,
		"ChangesAreToldByFleet":                 testEvents,
		"TheShippedRightsAreEnough":             testRights,
		"SecretsElsewhereAreNotAskedFor":        testNamespaces,
		"EachConnectionHasARateLimitOfItsOwn":   testLimit,
		"TheFieldsOfAKindThatTheClusterServes":  testFields,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// isUnreachable checks the kind of an error and what it says.
func isUnreachable(t *testing.T, err error, reason v1alpha1.Reason, why string) {
	t.Helper()
	var unreachable *clusters.UnreachableError
	if !errors.As(err, &unreachable) {
		t.Fatalf("%v is no UnreachableError", err)
	}
	if unreachable.Reason != reason || !strings.Contains(unreachable.Why, why) {
		t.Errorf("%s: %q, not %s: %q", unreachable.Reason, unreachable.Why, reason, why)
	}
}
