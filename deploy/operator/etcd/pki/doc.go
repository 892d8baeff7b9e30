// Package pki keeps the certificates of an etcd cluster: it says what the cluster's Secrets are to hold. It reads
// and writes nothing itself, and knows no Kubernetes.
//
// # What there is
//
// Each cluster has a CA of its own (ECDSA on P-256, 10 years) in the Secret CLUSTER.ca, which nobody mounts. Each
// member has one certificate, as a server and as a peer, in CLUSTER.member.NAME; each of etcd's users, the operator
// as root among them, has one in CLUSTER.user.NAME. Those are good for a year, and the Secrets have the keys
// tls.crt, tls.key and ca.crt, the CAs that are trusted.
//
// A user's common name is the name that etcd knows; a member's is empty, so that it is no user. All are of one CA,
// so what keeps users out at the peer port is etcd's option --peer-cert-allowed-hostname with [Wanted.PeersHost].
// At that port etcd also looks whether one of the names in a peer's certificate has the address that the peer
// comes from: the headless Service must publish addresses that are not ready.
//
// # How it is used
//
// An operator calls [Desired] again and again, writes what [Plan] says, in its order, and may end between any two
// writes. It restarts members of [Plan.NeedsRestart] one by one, and tells what runs as it is: see [Process].
// Nothing is remembered but in the Secrets.
//
// A CA is rotated in steps, each of which waits until all have taken the one before:
//
//	made      the new CA is in all bundles beside the old; it signs nothing
//	signs     all processes trust both: certificates are from the new CA
//	forgotten all processes show such certificates: the old CA leaves the bundles
//
// The first and the last cost each member a restart. A CA whose key is lost is rotated the same way; what it signed
// stays good meanwhile. If its Secret is lost, the others tell which CA they trust. All other renewals restart
// nobody.
//
// A clock that is wrong for a while breaks nothing: a certificate begins when the one before it began, and ends no
// earlier, so it is good by the right clock too, and it is renewed only if that makes it last longer.
//
// # What etcd reads when
//
// Tried with etcd 3.7.3, and held by a test. An etcd server reads its certificate and key from their files at every
// handshake, where it is dialed as where it dials: a renewal needs no restart, and connections that are open stay
// open. It reads its trusted CAs once, when it starts; for its clients, for peers that dial it and for peers that it
// dials alike: a bundle that changed needs a restart, and until then the member trusts the old one. It reads the two
// files one after the other, so they must be replaced together, as a kubelet does; a handshake in between fails and
// is made again.
//
// For certificates that people bring themselves, [Check] says what is wrong with them.
package pki
