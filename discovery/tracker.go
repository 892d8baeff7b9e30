package discovery

import (
	"sync"
	"time"
)

// tracker keeps what Status tells. All methods are safe for concurrent use.
type tracker struct {
	mu       sync.Mutex
	followed bool
	status   Status
	now      func() time.Duration // bootTime, but in tests
	proof    time.Duration        // when we were last known to be up to date
}

func newTracker(kind, detail string) *tracker {
	return &tracker{status: Status{Kind: kind, Detail: detail}, now: bootTime, proof: bootTime()}
}

// begin claims the source for one Follow; end gives it back.
func (t *tracker) begin() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.followed {
		return errFollowed
	}
	t.followed = true
	return nil
}

func (t *tracker) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.followed = false
	t.status.Connected = false
}

// proved notes that the receiver is up to date with the source at revision.
func (t *tracker) proved(revision int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.proof = t.now()
	t.status.Connected = true
	t.status.Synced = true
	t.status.Revision = revision
	t.status.LastError = ""
}

// confirmed notes that the receiver is still up to date, if it has not got further than revision.
func (t *tracker) confirmed(revision int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status.Revision == revision {
		t.proof, t.status.Connected, t.status.LastError = t.now(), true, ""
	}
}

// located notes the cluster that the revisions belong to from now on.
func (t *tracker) located(cluster string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Cluster = cluster
	t.status.Leader = 0
}

// noteLeader notes the revision that a read through the leader has shown.
func (t *tracker) noteLeader(revision int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Leader = max(t.status.Leader, revision)
}

// failed notes a contact that did not go well.
func (t *tracker) failed(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Connected = false
	t.status.LastError = why
}

func (t *tracker) describe(detail string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Detail = detail
}

func (t *tracker) read() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.status
	s.Age = t.now() - t.proof
	return s
}
