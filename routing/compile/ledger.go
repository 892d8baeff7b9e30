package compile

// ledger is the account of the stored pairs: the hash of all that are stored, that of those in force,
// and which documents are in force in another form than the stored one.
type ledger struct {
	hash, effective digest
	// behind holds by key the hash of the pair in force, where that is not the stored one; 0: none is.
	behind map[string]uint64
	stored int // how many pairs are stored, of all kinds
	found  int // how many of them the present update named
	moved  int // how many pairs it changed
}

func newLedger() ledger { return ledger{behind: map[string]uint64{}} }

// putInForce notes that the present value of a key is the one in force.
func (l *ledger) putInForce(change *Change) {
	l.effective.sub(l.inForce(change))
	l.effective.add(change.sum)
	delete(l.behind, change.Key)
}

// keep notes that what was in force stays so, though another value is stored.
func (l *ledger) keep(change *Change) { l.behind[change.Key] = l.inForce(change) }

// forget notes that nothing of a key is in force any more.
func (l *ledger) forget(change *Change) {
	l.effective.sub(l.inForce(change))
	delete(l.behind, change.Key)
}

// inForce returns the hash of the pair that is in force before a change; 0: none.
func (l *ledger) inForce(change *Change) uint64 {
	if sum, ok := l.behind[change.Key]; ok {
		return sum
	}
	return change.was
}
