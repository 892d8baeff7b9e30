// Package pki keeps the certificates of an etcd cluster: it says what the cluster's Secrets are to hold.
package pki
