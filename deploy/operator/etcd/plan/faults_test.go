package plan

import (
	"slices"
	"testing"
	"time"
)

// decideUnseen decides as where no majority answers, so that nothing is known of etcd's list.
func decideUnseen(w *world) Step {
	c := w.c
	c.Members = slices.Clone(c.Members)
	c.Known = false
	for i := range c.Members {
		c.Members[i].Listed, c.Members[i].Learner, c.Members[i].Healthy, c.Members[i].Leader = false, false, false, false
	}
	return Decide(&c)
}

// TestMembersThatArePartOfTheMajorityStartThoughTheyAreToBeRemoved holds that a cluster all of whose members a person
// deleted comes back after its nodes went down: without them there is no majority that could let them go.
func TestMembersThatArePartOfTheMajorityStartThoughTheyAreToBeRemoved(t *testing.T) {
	for _, size := range []int{1, 3} {
		w := newWorld(t, size)
		w.converge()
		for i := range w.c.Members {
			w.c.Members[i].Removing, w.c.Members[i].Pod = true, PodAbsent
		}
		if s := decideUnseen(w); s.Act != StartPod {
			t.Errorf("%d members without pods, all of them to be removed: %+v; wanted one to be started", size, s)
		}
	}
}

func TestAPodThatNeverEndsKeepsNobodyFromBeingReplaced(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	w.dead = "m1" // its node is gone
	w.member("m1").Pod = PodLeaving
	for range 100 {
		w.settle()
		if m := w.named("m1"); m != nil {
			m.UnhealthyFor = time.Hour
		}
		w.carryOut(Decide(&w.c))
	}
	healthy, voters := w.c.votes("")
	if healthy != 3 || voters != 3 {
		t.Errorf("%d of %d voters are healthy, wanted 3 of 3: %v", healthy, voters, w.acts)
	}
	w.dead = ""
	w.converge()
	if err := w.isWhole(); err != nil {
		t.Error(err)
	}
}

func TestAPodThatEndedIsMadeAnew(t *testing.T) {
	for _, formed := range []bool{true, false} {
		w := newWorld(t, 1)
		if formed {
			w.converge()
		} else {
			w.carryOut(Decide(&w.c))
		}
		w.member("m0").Pod = PodEnded // evicted
		if s := Decide(&w.c); s.Act != StopPod {
			t.Errorf("formed %t: %+v; wanted that what is left of the pod is deleted", formed, s)
		}
		if s := decideUnseen(w); s.Act != StopPod {
			t.Errorf("formed %t, no majority: %+v; wanted that what is left of the pod is deleted", formed, s)
		}
	}
}

// TestAMemberThatEtcdKnowsBeforeItsRecordDoesIsStarted holds what is left where the operator ended between telling
// etcd of a member and writing that down.
func TestAMemberThatEtcdKnowsBeforeItsRecordDoesIsStarted(t *testing.T) {
	w := newWorld(t, 1)
	w.converge()
	w.c.Replicas = 3
	for w.c.Members = w.c.Members[:1]; len(w.c.Members) < 2; {
		w.carryOut(Decide(&w.c))
	}
	m := w.member("m1")
	m.Listed, m.Learner = true, true
	if s := Decide(&w.c); s.Act != AddLearner {
		t.Errorf("%+v; wanted that it is written down", s)
	}
}

func TestASurplusMemberThatHasNoVoteIsNotWaitedFor(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	w.c.Replicas = 5
	for range 3 {
		w.settle()
		w.carryOut(Decide(&w.c))
	}
	w.member("m3").Healthy = false // its pod is not scheduled
	w.c.Replicas = 3
	if s := Decide(&w.c); s.Act != Remove || s.Member != "m3" {
		t.Errorf("%+v; wanted that m3, which has no vote, is removed", s)
	}
}

// TestMembersThatTheirNodesSeeServeAreNotRestartedTogether holds what an operator does that reaches no member while
// the cluster serves.
func TestMembersThatTheirNodesSeeServeAreNotRestartedTogether(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	for i := range w.c.Members {
		w.c.Members[i].UnhealthyFor, w.c.Members[i].Ready = time.Minute, true
	}
	w.c.Target = "b"
	for range 20 {
		s := decideUnseen(w)
		if s.Act == StopPod && slices.ContainsFunc(w.c.Members, func(m Member) bool { return !m.Ready }) {
			t.Fatalf("%+v, though another one is away", s)
		}
		w.carryOut(s)
		for i := range w.c.Members {
			m := &w.c.Members[i]
			m.Healthy, m.Ready, m.UnhealthyFor = true, m.Pod == PodThere, time.Minute
			if m.Pod == PodLeaving {
				m.Pod, m.PodHash = PodAbsent, ""
			}
		}
	}
	if err := w.isWhole(); err != nil {
		t.Errorf("a change that only waits for the operator to reach somebody: %v", err)
	}
}

// TestAMemberThatVotesIsNotStoppedThoughTheOperatorDoesNotReachIt: of three, one is healthy and two are not, and a majority
// answers all the same, so that one of the two votes.
func TestAMemberThatVotesIsNotStoppedThoughTheOperatorDoesNotReachIt(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	w.member("m1").Healthy, w.member("m2").Healthy = false, false
	w.member("m1").Ready = true
	w.c.Target = "b"
	for range 3 {
		s := Decide(&w.c)
		if s.Act == StopPod && s.Member == "m1" {
			t.Fatalf("%+v", s)
		}
		w.carryOut(s)
	}
}

func TestAForeignVoterCountsInTheMajority(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	w.c.ForeignVoters = 2
	if n := MinAvailable(&w.c); n != 3 {
		t.Errorf("drains leave %d of three members, of five voters", n)
	}
	w.c.Target = "b"
	for range 5 {
		s := Decide(&w.c)
		if s.Act == StopPod || s.Act == RemoveFromEtcd || s.Act == Wait && s.Why == "" {
			t.Fatalf("%+v of five voters, of which two are unknown", s)
		}
		w.carryOut(s)
	}
	w.c.Target, w.c.Replicas = "a", 1
	for range 5 {
		if s := Decide(&w.c); s.Act == StopPod || s.Act == Remove {
			t.Fatalf("%+v of five voters, of which two are unknown", s)
		}
	}
}
