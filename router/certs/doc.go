// Package certs holds the certificates of TLS listeners: pairs of files NAME.crt and
// NAME.key in a folder, chosen by the name that a client gives (SNI), and read again when
// they change, while connections go on.
//
//   - store.go: the folder, and what is in force of it
//   - lookup.go: which certificate a client gets
//   - tickets.go: keys of session tickets, which change daily
//   - metrics.go: when certificates end, and whether they could be read
package certs
