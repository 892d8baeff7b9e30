// Package chain is the form of backups: what objects a chain is made of, and how each of them reads.
//
// A chain is a full backup of etcd and the changes after it:
//
//	ID/full.db                 the snapshot, as etcd sent it
//	ID/full.json               its manifest, written after it; without it there is no backup
//	ID/delta-00000001          the events of the next revisions; the number goes on
//	ID/head-00000001-00000003  which delta is the last one; the second number is of this head itself
//
// Each object says what it is and where it belongs, is covered by a SHA-256, and names the SHA-256 of
// the one before it. So one that is missing, exchanged, cut short or changed is found, and by name.
//
// The package is pure: it knows neither stores nor etcd.
package chain

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// idTime is how an ID begins, so that the order of IDs is that of time.
const idTime = "20060102T150405.000Z"

var idForm = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}[.][0-9]{3}Z-[0-9a-f]{6}$`)

// NewID returns the ID of a chain that begins at a time. A random part keeps two apart that begin in
// the same millisecond.
func NewID(at time.Time) string {
	var random [3]byte
	_, _ = rand.Read(random[:]) // it never fails
	return at.UTC().Format(idTime) + "-" + hex.EncodeToString(random[:])
}

// CheckID says what is wrong with the ID of a chain.
func CheckID(id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("%q is no ID of a backup; write one as they are listed, such as 20261128T020000.000Z-0a1b2c", id)
	}
	return nil
}

// Began returns when a chain was begun by its ID; the zero time if it is none.
func Began(id string) time.Time {
	at, err := time.Parse(idTime, strings.SplitN(id, "-", 2)[0])
	if err != nil {
		return time.Time{}
	}
	return at
}

// FullName is the object with the snapshot.
func FullName(id string) string { return id + "/full.db" }

// ManifestName is the object with the manifest of the snapshot.
func ManifestName(id string) string { return id + "/full.json" }

// DeltaName is the object of a delta. Deltas are numbered from 1.
func DeltaName(id string, seq int64) string { return fmt.Sprintf("%s/delta-%08d", id, seq) }

// HeadName is the object that says which delta is the last one. number is of the heads of a chain,
// from 1, each higher than those before.
func HeadName(id string, seq, number int64) string {
	return fmt.Sprintf("%s/head-%08d-%08d", id, seq, number)
}

// Kind is what an object is, by its name.
type Kind int

// The kinds of objects.
const (
	Other Kind = iota // none of ours
	Full
	ManifestFile
	DeltaFile
	HeadFile
)

// Name is what the name of an object says.
type Name struct {
	Kind Kind
	// ID is of the chain; empty for what is none of ours.
	ID string
	// Seq is the number of a delta, or of the last delta that a head tells of. Number is the head's own.
	Seq, Number int64
}

// ParseName reads a name. Only the very form that is written is taken.
func ParseName(object string) Name {
	id, rest, _ := strings.Cut(object, "/")
	if !idForm.MatchString(id) {
		return Name{}
	}
	name := Name{ID: id}
	switch parts := strings.Split(rest, "-"); {
	case rest == "full.db":
		name.Kind = Full
	case rest == "full.json":
		name.Kind = ManifestFile
	case parts[0] == "delta" && len(parts) == 2:
		name.Kind, name.Seq = DeltaFile, number(parts[1])
		if object != DeltaName(id, name.Seq) {
			return Name{}
		}
	case parts[0] == "head" && len(parts) == 3:
		name.Kind, name.Seq, name.Number = HeadFile, number(parts[1]), number(parts[2])
		if object != HeadName(id, name.Seq, name.Number) {
			return Name{}
		}
	default:
		return Name{}
	}
	return name
}

// number reads decimal digits; what is none is -1, which no name is made of.
func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
