// Package routingtest has what tests of packages routing and routing/compile share: a [Grid], which
// compiles documents as a router does, and requests to ask it about.
package routingtest
