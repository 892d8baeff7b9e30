// Package clusters reaches Kubernetes clusters: the one where the operator runs, and those that
// ClusterConnections name.
//
// A [Registry] turns the name of a connection into a [Cluster]. What it knows of a remote cluster is made
// when it is first asked for: a light probe tells whether the cluster answers; caches are filled once
// somebody wants to read from it. A changed kubeconfig replaces the cluster, and the old one is stopped.
//
// A kubeconfig is written by the tenants of a namespace, so it is read with suspicion: [parse] takes over
// single fields, and neither runs a program nor opens a file.
package clusters
