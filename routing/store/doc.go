// Package store holds what a table is made of, as it lies in memory: immutable maps of byte strings
// ([Map]), of which versions share what did not change, and the records that a table keeps in them
// ([Maps] lists which). It knows neither documents nor requests.
//
// package routing reads maps, on the path of every request, without locks and without allocating;
// package routing/compile edits them. docs/TABLE.md draws the layout.
//
//   - map.go, shard.go: how an entry is found; editor.go: how the next version is made
//   - record.go, maps.go: keys and values of the table's maps
//   - list.go: lists in pages, for what is not bytes
//   - encode.go: maps as bytes, for snapshots
package store
