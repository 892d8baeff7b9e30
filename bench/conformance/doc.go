// Package conformance holds the real binary against other people's programs: scripts for
// varnishtest, which plays client and deck byte by byte, and real HTTP servers as decks, whose
// view of where requests begin and end is compared with the router's. Its tests need Debian's
// packages varnish, nginx, apache2, lighttpd, nodejs, python3; "make conformance" says
// which are missing.
package conformance
