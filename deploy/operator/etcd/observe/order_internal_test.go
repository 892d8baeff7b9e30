package observe

import (
	"testing"
	"time"
)

// TestAnOlderAnswerDoesNotReplaceANewerOne has two ask at once, and the one that asked first wait longer, as for a member
// that does not answer.
func TestAnOlderAnswerDoesNotReplaceANewerOne(t *testing.T) {
	c := &cluster{changed: func() {}}
	now := time.Now()
	c.note(Report{began: now, At: now})
	c.note(Report{began: now.Add(-time.Second), At: now.Add(time.Second), Known: true})
	if c.report.Known {
		t.Error("what is decided by was asked before what was known already")
	}
	c.note(Report{began: now.Add(time.Second), At: now.Add(2 * time.Second), Known: true})
	if !c.report.Known {
		t.Error("a newer answer was not taken")
	}
}
