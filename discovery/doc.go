// Package discovery follows documents where they are stored and tells one
// receiver of every change. It does not know what the documents mean: to it
// they are keys and bytes, at revisions.
//
// A [Source] delivers batches to an apply function: first a Whole one, with
// everything there is at one revision, then the changes, each batch complete
// up to its revision. Three sources keep this contract, and one test suite
// holds them to it:
//
//   - [Etcd] follows a prefix; the fleet's way.
//   - [Folder] follows the files of a folder; for one machine, for ConfigMap
//     mounts and for trying things out.
//   - [Memory] is filled by calls; for tests and embedding.
//
// Beside them are [NewClient], the etcd client that routers and command line
// tools share, and [Announcer], which keeps one leased key that says that this
// process lives.
//
// # How etcd is followed
//
//	            +------------------ it fails ----------------+
//	            v                                            |
//	start -> [waiting] -- no list yet, or R of no use -> [listing]
//	         |  ^                                            |
//	         |  |                                            | Whole batch at R
//	         |  |                                            v
//	         |  +------------------ it fails ----------- [watching from R+1]
//	         |                                            ^  |            ^
//	         +-- R still good ----------------------------+  |  events:   | batch,
//	                                                         |  progress: | R rises
//	                                                         +------------+
//
// Waiting is drawn anew each time, between nothing and a ceiling that doubles
// from 100 ms to 30 s ("full jitter"). R is of no use once etcd has compacted
// what came after it away, another cluster answers, the cluster's revisions
// went backwards, or events came out of order.
//
// Seven rules keep it honest.
//
//   - The cursor R moves only when this very stream has delivered an event or a
//     progress answer, never because time went by.
//
//   - All events of a revision are applied in one batch. etcd sends a revision
//     in one answer and its client joins the fragments of one; a burst of
//     answers is gathered for a millisecond.
//
//   - "Cannot read" is never "empty": a list that fails or ends early is
//     thrown away, and what was delivered before stays in force.
//
//   - A watch does not fail when its peer falls silent, so the stream is asked
//     for progress every two seconds, and Status says how old the last proof
//     is that we are up to date. A silence is looked into: is it still the
//     same source, and does it answer at all?
//
//   - A cluster with another id, or one that has gone back to a lower
//     revision (asked for by a read through its leader, since a single member
//     may only lag), is another source: that is logged as an error, counted,
//     and its whole list is delivered with SourceChanged set.
//
//   - A stream may answer, and yet have lost events, or come from a member that
//     is left behind. So every twenty seconds or so a read through the leader
//     counts the keys at our own revision, and shows the newest one. A stream
//     that does not get there is opened anew, then with a new client; a count
//     that differs makes us list everything.
//
//   - Every ten to thirty minutes everything is listed at the cursor, beside
//     the watch, with what the watch brings in the meantime laid over it. The
//     receiver compares: what differs had been lost on its way.
//
// What a stream cannot show: a cluster restored under its old identity that
// has already gone past our revision again before we come back to it. The
// count of keys, or else the next audit, finds that out. Restore with
// "--bump-revision ... --mark-compacted", which makes every router list anew
// at once.
//
// # Two prefixes
//
// With [EtcdConfig].Marks a second prefix is followed by the same list and the
// same watch, over one range, so that a transaction over both is one batch.
// What lies between the two is dropped, but its revisions count as progress.
package discovery
