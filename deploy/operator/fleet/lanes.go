package fleet

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// lanes bounds how many reconciles are busy with other clusters at once, and how many of them with one. A cluster
// that takes requests and answers none of them holds each for its whole time-out, and would hold up all fleets
// until it is known to be away.
type lanes struct {
	most, mostOfOne int

	mu      sync.Mutex
	all     int
	busy    map[types.NamespacedName]int // by connection
	waiting map[reconcile.Request]types.NamespacedName
}

func newLanes(most, mostOfOne int) *lanes {
	return &lanes{
		most: most, mostOfOne: mostOfOne,
		busy: map[types.NamespacedName]int{}, waiting: map[reconcile.Request]types.NamespacedName{},
	}
}

// enter says whether there is room for a reconcile; if there is not, leave will name it once there is.
func (l *lanes) enter(connection types.NamespacedName, request reconcile.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.room(connection) {
		l.waiting[request] = connection
		return false
	}
	delete(l.waiting, request)
	l.all++
	l.busy[connection]++
	return true
}

// leave ends what enter began, and returns who may come next.
func (l *lanes) leave(connection types.NamespacedName) (next reconcile.Request, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.busy[connection]--; l.busy[connection] == 0 {
		delete(l.busy, connection)
	}
	for request, wanted := range l.waiting {
		if l.room(wanted) {
			delete(l.waiting, request)
			return request, true
		}
	}
	return reconcile.Request{}, false
}

func (l *lanes) room(connection types.NamespacedName) bool {
	return l.all < l.most && l.busy[connection] < l.mostOfOne
}

// leaveLane makes room for another fleet of other clusters.
func (r *Reconciler) leaveLane(connection types.NamespacedName) {
	if next, found := r.lanes.leave(connection); found {
		r.Changed(next.Namespace, next.Name)
	}
}
