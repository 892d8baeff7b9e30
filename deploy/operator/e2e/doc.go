// Package e2e tests the operator as a whole: on a real Kubernetes, as it is installed, with real routers,
// etcd and decks. make e2e-kube runs it in a testbed (docs/TESTBED.md); elsewhere its tests are skipped.
package e2e
