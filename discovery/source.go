package discovery

import (
	"context"
	"errors"
	"time"
)

// Entry is one stored pair.
type Entry struct {
	// Key is relative to the source's root, for example "tenants/acme".
	Key string
	// Value is what is stored there, as it is. Nobody writes to it: the source
	// may hand out the same bytes again.
	Value []byte
	// Revision is the source's revision at which Value was last written. In a
	// folder and in memory it is the source's own counter.
	Revision int64
	// Created is the revision at which the key came into being; 0 where the
	// source does not know (a folder). A key deleted and put again is new.
	Created int64
	// Origin says where a person finds the entry: "etcd", "memory", or a file
	// and line such as "tenants.yaml:12".
	Origin string
}

// Batch is everything that happened up to Revision, as one step: a receiver
// that has applied it has seen all of each revision up to that one, or, for a
// revision after it, nothing.
type Batch struct {
	// Whole says that Put is all there is at Revision. What is not in it is
	// gone; the receiver finds the difference. Deleted is empty then.
	Whole bool
	// SourceChanged accompanies Whole when the source is not the one that the
	// earlier batches came from: another etcd cluster answers, or the same one
	// was restored from a backup. Revision may then be lower than before.
	SourceChanged bool
	// MayLookEmpty accompanies Whole where the source may look empty although
	// it is not, and the receiver knows that it was not. Sources leave it out.
	MayLookEmpty bool
	// Revision is the source's revision that this batch brings the receiver
	// to. It rises from batch to batch, except where SourceChanged is set, and
	// with Audit, where it may be the one of the batch before.
	Revision int64
	// Audit accompanies Whole where the list was made for no other reason than
	// to compare: nothing new is in it unless an earlier change was lost on
	// its way. The receiver compares, and what it repairs is drift.
	Audit bool
	// Put holds the new or changed entries, each key at most once.
	Put []Entry
	// Deleted holds the keys that are gone; none of them is in Put. A key may
	// be named that the receiver never saw.
	Deleted []string
	// Marks holds the new or changed entries of the second prefix that some
	// sources follow (EtcdConfig.Marks), their keys relative to it; with Whole,
	// all there are. They come in the batch of their own revision, together
	// with what was written to Put in the same transaction. A batch may hold
	// marks only. MarksDeleted is to them what Deleted is to Put.
	Marks        []Entry
	MarksDeleted []string
	// Faults lists what the source could not read. It is the complete list of
	// the moment, in every batch; empty means that all is well. Only folders
	// have faults.
	Faults []Fault
}

// Fault is one thing that a source could not read.
type Fault struct {
	Origin  string // where: "tenants.yaml", "tenants.yaml:12"
	Message string // what is wrong and how to mend it
}

// Source is where documents come from: an etcd prefix, a folder of files, or
// memory. It knows nothing of what the documents mean.
type Source interface {
	// Follow calls apply with a Whole batch first and with each change after
	// it, until ctx ends; then it returns ctx's error. All calls to apply come
	// from one goroutine, in order, and none comes after Follow has returned.
	// apply must not keep the slices of a Batch after it returns (the strings
	// and the Values it may keep, unchanged); while it runs nothing further is
	// delivered, so it should be quick.
	//
	// An error other than ctx's is permanent: the configuration is wrong, and
	// calling again will not help. All else (an absent etcd, an unreadable
	// folder, a refused password) is retried inside and told by Status.
	// "Cannot read" is never "empty": what was delivered stays in force.
	//
	// One Follow runs at a time; a second one returns an error at once. After
	// the first has returned Follow may be called again, and starts anew with
	// a Whole batch.
	Follow(ctx context.Context, apply func(Batch)) error

	// Status says how the source is doing. It is safe for concurrent use, and
	// answers at once.
	Status() Status
}

// Status is how a source is doing at one moment.
type Status struct {
	Kind      string        // "etcd", "files" or "memory"
	Connected bool          // the last contact went well, and it was not long ago
	Synced    bool          // one whole list has been applied in this process
	Revision  int64         // what the receiver has been brought to, or a later one without any change to it
	Age       time.Duration // since the source last proved that we are up to date; since the source was made, before the first proof
	LastError string        // what went wrong last, and how to mend it; empty while all is well. Nothing secret
	Cluster   string        // id of the etcd cluster that the revision belongs to, in hexadecimal; "" before the first list, and where there is none
	Leader    int64         // newest revision that a read through etcd's leader has shown; 0 before the first such read
	Detail    string        // where the source is, for a person: endpoints, prefix and cluster, or the folder
}

// Kinds of source, as Status.Kind and the metrics' source label name them.
const (
	kindEtcd   = "etcd"
	kindFiles  = "files"
	kindMemory = "memory"
)

var errFollowed = errors.New("this source is being followed already: one Follow at a time")
