// Package e2e has the tests that run inside a testbed, with real pods: make e2e-kube starts one
// and runs them in it. Elsewhere they are skipped.
package e2e
