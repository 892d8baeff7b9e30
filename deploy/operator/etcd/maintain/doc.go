// Package maintain has the space of etcd clusters be kept, beside the reconciler: it relieves clusters of NOSPACE, and
// has them give back free space at the times of a schedule. It knows etcd alone; when an act may be done is for the
// caller to say.
package maintain
