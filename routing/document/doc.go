// Package document reads and writes the documents of a grid: strictly, and saying
// where in the text each fault is, and its mend.
//
//	text (YAML, JSON) -> nodes with places -> Go value -> canonical hosts -> Validate -> stored JSON
//
// Nothing is guessed: unknown and repeated fields, null, wrong types, text that only
// looks like text (an unquoted 1, no or 2026-01-01), YAML's anchors, aliases, merge keys
// and tags are all refused. All faults of a document are reported, up to [MaxErrors].
//
// Where to look:
//
//   - reader.go: the Reader, files and stored values; kind.go: kinds of document
//   - yaml.go, json.go: the two parsers; node.go: what they make
//   - decode.go, plan.go, scalar.go: nodes into Go values
//   - host.go: canonical hosts; encode.go: the stored form; errors.go: errors with places
package document
