// Package samples holds the sample documents: decks, tenants, pins and GSLB names of a
// grid on one machine, written to be read. Their addresses are those of the default
// block of bench/lab, 127.77.0.0/24.
package samples

import "embed"

// Files are the documents, one or more in each file.
//
//go:embed *.yaml
var Files embed.FS
