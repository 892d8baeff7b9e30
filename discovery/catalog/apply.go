package catalog

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Result says how far an Apply came.
type Result struct {
	// Revision is etcd's revision of the last transaction; 0: none was done.
	Revision int64 `json:"revision"`
	// Transactions is how many transactions were done.
	Transactions int `json:"transactions"`
	// Written are the keys of the documents whose change is complete, Unwritten those
	// whose change is not, in the order of writing.
	Written   []string `json:"written"`
	Unwritten []string `json:"unwritten,omitempty"`
}

// Progress is told after each transaction.
type Progress struct {
	// Done of Total documents are written.
	Done, Total int
}

// Apply executes a plan. It stops at the first error: a *[ConflictError] where somebody
// else changed what the plan relied upon, an *[UnreachableError], or the end of ctx. The
// result is good in any case; what is written stays written, and a new plan of the same
// documents finishes the rest. progress may be nil; it is called from the same goroutine.
func (c *Catalog) Apply(ctx context.Context, plan *Plan, progress func(Progress)) (Result, error) {
	run := &run{Catalog: c, plan: plan, own: ledger{keys: map[string]revisions{}}}
	for i := range plan.Changes {
		if plan.Changes[i].Action != Unchanged {
			run.total++
		}
	}
	err := run.reserve(ctx)
	for i := 0; err == nil && i < len(plan.steps); i++ {
		err = run.step(ctx, &plan.steps[i])
		if err == nil && progress != nil {
			progress(Progress{len(run.result.Written), run.total})
		}
	}
	run.writeRecent(ctx)
	run.result.Unwritten = run.unwritten()
	return run.result, err
}

// run is one execution of a plan.
type run struct {
	*Catalog
	plan   *Plan
	own    ledger
	result Result
	total  int
}

func (r *run) unwritten() []string {
	var rest []string
	for i := range r.plan.Changes {
		if r.plan.Changes[i].Action != Unchanged {
			rest = append(rest, r.plan.Changes[i].Key)
		}
	}
	return without(rest, r.result.Written)
}

// step does one transaction.
func (r *run) step(ctx context.Context, s *step) error {
	ops := make([]clientv3.Op, 0, maxOps)
	for i := range s.writes {
		more, err := r.write(&s.writes[i])
		if err != nil {
			return err
		}
		ops = append(ops, more...)
	}
	for _, c := range s.claims {
		ops = append(ops, r.claimOp(c))
	}
	for _, span := range s.ranges {
		ops = append(ops, clientv3.OpDelete(span.from, clientv3.WithRange(span.to)))
	}
	if s.marked {
		mark, err := r.mark(0, r.plan.why)
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(r.at.mark(), mark))
	}
	revision, err := r.commit(ctx, s.conditions, ops)
	if err != nil {
		return err
	}
	r.enter(s, revision)
	r.result.Written = append(r.result.Written, s.finishes...)
	r.result.Revision = revision
	r.result.Transactions++
	return nil
}

// write returns the operations for a document and its record.
func (r *run) write(w *write) ([]clientv3.Op, error) {
	record, err := encodeRecord(Record{
		Who: r.who, When: r.now(), Why: r.plan.why,
		Before: forRecord(w.before), After: forRecord(w.after),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.key, err)
	}
	ops := make([]clientv3.Op, 0, opsPerDoc)
	if w.after == nil {
		ops = append(ops, clientv3.OpDelete(r.at.doc(w.key)))
	} else {
		ops = append(ops, clientv3.OpPut(r.at.doc(w.key), string(w.after)))
	}
	ops = append(ops, clientv3.OpPut(r.at.record(w.key, w.number), string(record)))
	if w.number > KeptRecords {
		oldest := r.at.record(w.key, w.number-KeptRecords+1)
		ops = append(ops, clientv3.OpDelete(r.at.records(w.key), clientv3.WithRange(oldest)))
	}
	return ops, nil
}

func (r *run) claimOp(c claimWrite) clientv3.Op {
	if c.tenant == "" {
		return clientv3.OpDelete(r.at.host(c.host))
	}
	return clientv3.OpPut(r.at.host(c.host), encodeClaim(c.tenant))
}

// enter notes what a transaction did to the keys that later ones rely upon.
func (r *run) enter(s *step, revision int64) {
	r.own.latest = revision
	for i := range s.writes {
		w := &s.writes[i]
		key := r.at.doc(w.key)
		switch created := w.created; {
		case w.after == nil:
			r.own.keys[key] = revisions{}
		case w.before == nil:
			r.own.keys[key] = revisions{revision, revision}
		default:
			if own, again := r.own.keys[key]; again {
				created = own.created
			}
			r.own.keys[key] = revisions{revision, created}
		}
	}
	for _, c := range s.claims {
		mine := revisions{}
		if c.tenant != "" {
			mine = revisions{mod: revision}
		}
		r.own.keys[r.at.host(c.host)] = mine
	}
}

// commit does operations if everything relied upon still holds, and returns the revision.
func (r *run) commit(ctx context.Context, conditions []condition, ops []clientv3.Op) (int64, error) {
	comparisons := make([]clientv3.Cmp, len(conditions))
	look := make([]clientv3.Op, len(conditions))
	for i, cond := range conditions {
		comparisons[i] = r.own.compare(cond)
		opts := []clientv3.OpOption{clientv3.WithKeysOnly()}
		if cond.how == noneNewer {
			opts = append(opts, clientv3.WithPrefix(), clientv3.WithMinModRev(max(cond.revision, r.own.latest)+1), clientv3.WithLimit(1))
		}
		look[i] = clientv3.OpGet(cond.key, opts...)
	}
	answer, err := r.txn(ctx, comparisons, ops, look)
	if err != nil {
		return 0, err
	}
	if answer.Succeeded {
		return answer.Header.Revision, nil
	}
	for i, cond := range conditions {
		if kvs := answer.Responses[i].GetResponseRange().Kvs; !r.own.holds(cond, kvs) {
			return 0, &ConflictError{r.whatChanged(cond, kvs)}
		}
	}
	return 0, &ConflictError{"what this plan relied upon was changed"}
}

// holds says, of what a failed transaction found, whether a condition still holds.
func (l *ledger) holds(cond condition, kvs []*mvccpb.KeyValue) bool {
	var found revisions
	if len(kvs) > 0 {
		found = revisions{kvs[0].ModRevision, kvs[0].CreateRevision}
	}
	own, mine := l.keys[cond.key]
	switch {
	case cond.how == noneNewer:
		return len(kvs) == 0
	case cond.how == sameCreation && mine:
		return found.created == own.created
	case cond.how == sameCreation:
		return found.created == cond.revision
	case mine:
		return found.mod == own.mod
	}
	return found.mod == cond.revision
}

// whatChanged says in words what a condition found.
func (r *run) whatChanged(cond condition, kvs []*mvccpb.KeyValue) string {
	key := cond.key
	if cond.how == noneNewer && len(kvs) > 0 {
		key = string(kvs[0].Key)
	}
	if own, mine := r.own.keys[key]; mine {
		cond.revision = own.mod
	}
	act := "was changed"
	switch {
	case len(kvs) == 0:
		act = "was deleted"
	case cond.how != noneNewer && cond.revision == 0, cond.how == noneNewer && kvs[0].ModRevision == kvs[0].CreateRevision:
		act = "was created"
	}
	if host, isHost := strings.CutPrefix(key, r.at.hosts()); isHost {
		act = map[string]string{"was changed": "was claimed", "was created": "was claimed", "was deleted": "was released"}[act]
		return fmt.Sprintf("host %s %s", host, act)
	}
	if doc, isDoc := strings.CutPrefix(key, r.at.docs()); isDoc {
		return describe(doc) + " " + act
	}
	return key + " " + act
}
