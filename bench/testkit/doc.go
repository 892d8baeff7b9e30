// Package testkit has what tests of many packages need: waiting with patience, addresses that stay
// free, and certificates. Its neighbour etcdtest has a real etcd, apart, so that a test which needs
// none does not link it.
//
// What gridbench does of the same kind (bench/compare, bench/table) it does for itself, since it is no
// test; and bench/lab/etcd is what griddev runs, in a process of its own.
//
// It is for tests only: no package imports it but in its _test.go files (a test in docs holds that).
// It imports nothing of ours, so that tests inside any package can use it.
package testkit
