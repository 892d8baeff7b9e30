package fleet

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"gridrouter.io/deploy/api/v1alpha1"
)

// tablesEvery is how often a status is written in which nothing changed but how far the routers' tables are.
// Documents may change all the time, and with them the tables of all fleets of an etcd: who lags and who differs is
// told at once, by the conditions.
const tablesEvery = 30 * time.Second

// pace remembers when the status of each fleet was written last.
type pace struct {
	mu      sync.Mutex
	written map[string]time.Time
}

// wait says how long a status is to wait before it is written; 0: not at all.
func (p *pace) wait(id string, before, after *v1alpha1.GridRouterStatus, at time.Time) time.Duration {
	if !tablesAlone(before, after) {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.written[id]
	if !known {
		return 0
	}
	return max(last.Add(tablesEvery).Sub(at), 0)
}

func (p *pace) note(id string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written[id] = at
}

func (p *pace) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.written, id)
}

// tablesAlone says whether two statuses differ, and in nothing but the tables of routers that told of one before.
func tablesAlone(before, after *v1alpha1.GridRouterStatus) bool {
	if before.Table == nil || after.Table == nil || len(before.Instances) != len(after.Instances) {
		return false
	}
	a, b := before.DeepCopy(), after.DeepCopy()
	a.Table, b.Table = nil, nil
	for i := range a.Instances {
		x, y := &a.Instances[i], &b.Instances[i]
		if (x.TableHash == "") != (y.TableHash == "") {
			return false
		}
		x.TableRevision, x.TableHash = y.TableRevision, y.TableHash
	}
	return equality.Semantic.DeepEqual(a, b) && !equality.Semantic.DeepEqual(before, after)
}
