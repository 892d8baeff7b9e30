package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// world is an etcd cluster with its pods, as far as decisions are about them: what an act does to it is as etcd and
// Kubernetes do it.
type world struct {
	t    *testing.T
	c    Cluster
	next int64
	// bad is the hash of a template that never gets healthy.
	bad string
	// wiped are members whose data is gone.
	wiped map[string]bool
	// dead is a member whose pod never ends, since its node is gone.
	dead string
	acts []string
}

func newWorld(t *testing.T, replicas int) *world {
	return &world{t: t, c: Cluster{Replicas: replicas, Target: "a", ReplaceAfter: 5 * time.Minute}, wiped: map[string]bool{}}
}

func (w *world) member(name string) *Member {
	m := w.named(name)
	if m == nil {
		w.t.Fatalf("no member %q", name)
	}
	return m
}

func (w *world) named(name string) *Member {
	if i := slices.IndexFunc(w.c.Members, func(m Member) bool { return m.Name == name }); i >= 0 {
		return &w.c.Members[i]
	}
	return nil
}

// settle brings what runs by itself to its end: pods start and stop, members catch up, one leads.
func (w *world) settle() {
	for i := range w.c.Members {
		m := &w.c.Members[i]
		if m.Pod == PodLeaving && m.Name != w.dead {
			m.Pod, m.PodHash = PodAbsent, ""
		}
		m.Lost = ""
		m.Healthy = m.Pod == PodThere && m.PodHash != w.bad && m.Listed && !w.wiped[m.Name]
		if w.wiped[m.Name] && m.Pod == PodThere {
			m.Lost = "its volume lost its data"
		}
		if m.Healthy {
			m.UnhealthyFor = 0
		}
	}
	healthy, voters := w.c.votes("")
	w.c.Known = voters > 0 && healthy >= quorum(voters)
	led := slices.IndexFunc(w.c.Members, func(m Member) bool { return m.Leader && m.Healthy && !m.Learner && m.Listed })
	for i := range w.c.Members {
		w.c.Members[i].Leader = i == led
	}
	if led < 0 && w.c.Known {
		i := slices.IndexFunc(w.c.Members, func(m Member) bool { return m.Healthy && !m.Learner })
		w.c.Members[i].Leader = true
	}
}

// decide decides by what the reconciler would know: nothing of etcd's list where no majority answers.
func (w *world) decide() Step {
	c := w.c
	if !c.Known {
		c.Members = slices.Clone(c.Members)
		for i := range c.Members {
			c.Members[i].Listed, c.Members[i].Learner = false, false
		}
	}
	return Decide(&c)
}

// carryOut does what a step says, as etcd and Kubernetes would, and holds it against what must never be done.
func (w *world) carryOut(s Step) {
	w.t.Helper()
	w.acts = append(w.acts, fmt.Sprintf("%s %s%s", s.Act, s.Member, s.To))
	healthyBefore, votersBefore := w.c.votes("")
	switch s.Act {
	case Wait:
	case MakeSeed, MakeMember:
		if s.Act == MakeSeed && w.c.Formed {
			w.t.Fatal("a cluster that was formed is formed once more")
		}
		w.c.Members = append(w.c.Members, Member{Name: fmt.Sprintf("m%d", w.next), Number: w.next, Hash: w.c.Target, Zone: fmt.Sprint(w.next % 3)})
		w.next++
	case AddLearner:
		if slices.ContainsFunc(w.c.Members, func(m Member) bool { return m.Listed && m.Learner }) {
			w.t.Fatal("etcd bears one learner")
		}
		m := w.member(s.Member)
		m.Listed, m.Learner, m.State = true, true, Joining
	case StartPod:
		m := w.member(s.Member)
		m.Pod, m.PodHash, m.Alone = PodThere, m.Hash, w.c.Survivor == m.Name
		if m.Alone {
			for i := range w.c.Members {
				if o := &w.c.Members[i]; o.Name != m.Name {
					if o.Pod != PodAbsent || !o.Removing {
						w.t.Fatalf("%s runs, or may run again, while %s is made the only member", o.Name, m.Name)
					}
					o.Listed = false
				}
			}
		}
		if !w.c.Formed {
			m.Listed, m.State, w.c.Formed = true, Joining, true
		}
	case StopPod:
		m := w.member(s.Member)
		m.Pod, m.Healthy = PodLeaving, false
	case MarkJoined:
		w.member(s.Member).State = Joined
	case Promote:
		m := w.member(s.Member)
		if !m.Healthy {
			w.t.Fatal("etcd does not promote a learner that lags")
		}
		m.Learner = false
	case MoveLeader:
		if to := w.member(s.To); !to.Healthy || to.Learner {
			w.t.Fatalf("%s cannot lead", s.To)
		}
		w.member(s.Member).Leader, w.member(s.To).Leader = false, true
	case Remove:
		w.member(s.Member).Removing = true
	case RemoveFromEtcd:
		m := w.member(s.Member)
		m.Listed, m.Leader, m.Healthy = false, false, false
	case RemoveStray:
		w.c.Strays = slices.DeleteFunc(w.c.Strays, func(stray Stray) bool { return stray.ID == s.ID })
	case Release:
		if m := w.member(s.Member); m.Listed && w.c.Formed || m.Pod != PodAbsent {
			w.t.Fatalf("%s is let go too early", s.Member)
		}
		w.c.Members = slices.DeleteFunc(w.c.Members, func(m Member) bool { return m.Name == s.Member })
	case Update:
		w.member(s.Member).Hash = w.c.Target
	default:
		w.t.Fatalf("unknown act %q", s.Act)
	}
	healthy, voters := w.c.votes("")
	if voters > 1 && votersBefore > 1 && w.c.Replicas > 0 && healthyBefore >= quorum(votersBefore) && healthy < quorum(voters) {
		w.t.Fatalf("%s %s lost the majority: %d of %d healthy before, %d of %d after; acts: %v", s.Act, s.Member, healthyBefore, votersBefore, healthy, voters, w.acts)
	}
}

// converge carries steps out until there is none, and says how many there were.
func (w *world) converge() int {
	w.t.Helper()
	for n := range 500 {
		w.settle()
		s := w.decide()
		w.carryOut(s)
		if s.Act == Wait && !slices.ContainsFunc(w.c.Members, func(m Member) bool { return m.Pod == PodLeaving }) {
			return n
		}
	}
	w.t.Fatalf("no end after 500 steps: %v", w.acts[len(w.acts)-20:])
	return 0
}

// isWhole says by an error how the cluster differs from what is wanted.
func (w *world) isWhole() error {
	if len(w.c.Members) != w.c.Replicas {
		return fmt.Errorf("%d members, wanted %d: %v", len(w.c.Members), w.c.Replicas, w.acts)
	}
	for i := range w.c.Members {
		if m := &w.c.Members[i]; !m.Healthy || m.Learner || !w.c.settled(m) || m.State != Joined || m.Removing {
			return fmt.Errorf("%+v: %v", *m, w.acts)
		}
	}
	return nil
}

func TestAClusterGrowsAndShrinksToEachSize(t *testing.T) {
	for _, sizes := range [][]int{{1, 3, 5, 7, 5, 3, 1}, {3, 1, 3}, {7, 1, 7}, {5, 0, 5}, {3, 0, 1}, {1, 0, 3}} {
		w := newWorld(t, 0)
		for _, size := range sizes {
			w.c.Replicas = size
			w.converge()
			if size == 0 {
				if i := slices.IndexFunc(w.c.Members, func(m Member) bool { return m.Pod != PodAbsent }); i >= 0 {
					t.Errorf("%v: %s runs in a cluster that hibernates", sizes, w.c.Members[i].Name)
				}
				continue
			}
			if err := w.isWhole(); err != nil {
				t.Errorf("%v, at %d: %v", sizes, size, err)
			}
		}
	}
}

func TestAMemberThatIsNotHealthyIsChangedFirstAndTheLeaderLast(t *testing.T) {
	w := newWorld(t, 5)
	w.converge()
	w.bad = "sick" // m3 runs it
	w.member("m3").PodHash = "sick"
	w.c.Target, w.acts = "b", nil
	w.converge()
	var changed []string
	for _, act := range w.acts {
		var who string
		if n, _ := fmt.Sscanf(act, "StopPod %s", &who); n == 1 {
			changed = append(changed, who)
		}
	}
	if len(changed) != 5 || changed[0] != "m3" || changed[4] != "m0" {
		t.Errorf("restarted in the order %v; wanted m3, which was sick, first, and m0, which led, last", changed)
	}
	if err := w.isWhole(); err != nil {
		t.Error(err)
	}
}

func TestAChangeThatDoesNotComeUpStopsAtItsFirstMember(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	w.bad, w.c.Target = "b", "b"
	w.converge()
	running := 0
	for i := range w.c.Members {
		running += boolean(w.c.Members[i].PodHash == "b")
	}
	if running != 1 {
		t.Errorf("%d members run what does not come up", running)
	}
	w.c.Target = "a"
	w.converge()
	if err := w.isWhole(); err != nil {
		t.Error(err)
	}
}

func TestTheOnlyMemberIsBroughtBackFromAChangeThatDoesNotComeUp(t *testing.T) {
	w := newWorld(t, 1)
	w.converge()
	w.bad, w.c.Target = "b", "b"
	w.converge()
	w.c.Target = "a"
	w.member("m0").UnhealthyFor = time.Minute
	w.converge()
	if err := w.isWhole(); err != nil {
		t.Error(err)
	}
}

func TestAMemberThatLostItsDataIsReplacedAtOnceUnderAnotherName(t *testing.T) {
	for _, size := range []int{3, 5, 7} {
		w := newWorld(t, size)
		w.converge()
		w.wiped["m1"] = true
		w.converge()
		if err := w.isWhole(); err != nil {
			t.Error(err)
		}
		if slices.ContainsFunc(w.c.Members, func(m Member) bool { return m.Name == "m1" }) {
			t.Error("the member that lost its data is still there")
		}
	}
}

func TestNothingIsRemovedWhereNoMajorityIsLeft(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	w.wiped["m1"], w.wiped["m2"] = true, true
	w.acts = nil
	w.converge()
	if len(w.acts) != 1 || len(w.c.Members) != 3 {
		t.Errorf("two of three lost their data: %v", w.acts)
	}
}

func TestTheClusterGoesOnWithItsSurvivorOnceNoOtherMemberRuns(t *testing.T) {
	for _, size := range []int{3, 5, 7} {
		w := newWorld(t, size)
		w.converge()
		for i := range size/2 + 1 {
			w.wiped[fmt.Sprintf("m%d", i)] = true
		}
		w.converge()
		w.c.Survivor = fmt.Sprintf("m%d", size-1)
		for range 200 {
			w.settle()
			if w.c.Known && !slices.ContainsFunc(w.c.Members, func(m Member) bool { return m.Removing }) {
				w.c.Survivor = ""
			}
			w.carryOut(Decide(&w.c))
		}
		if err := w.isWhole(); err != nil {
			t.Error(err)
		}
		if !slices.ContainsFunc(w.c.Members, func(m Member) bool { return m.Name == fmt.Sprintf("m%d", size-1) }) {
			t.Error("the survivor is gone")
		}
	}
}

func TestAMemberThatAPersonDeletesIsReplacedBeforeItGoes(t *testing.T) {
	for _, size := range []int{1, 3, 5} {
		w := newWorld(t, size)
		w.converge()
		for i := range w.c.Members {
			w.c.Members[i].Removing = true // all of them
		}
		least := size
		for range 200 {
			w.settle()
			w.carryOut(w.decide())
			_, voters := w.c.votes("")
			least = min(least, voters)
		}
		if err := w.isWhole(); err != nil {
			t.Error(err)
		}
		if least < size {
			t.Errorf("%d voters were left of %d", least, size)
		}
	}
}

func TestASickMemberIsReplacedThoughAnotherOneIsToBeRemoved(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	w.member("m2").Removing = true
	w.wiped["m1"] = true
	w.converge()
	if err := w.isWhole(); err != nil {
		t.Error(err)
	}
}

func TestAMemberWithoutAnEtcdMemberIsTakenOut(t *testing.T) {
	w := newWorld(t, 3)
	w.converge()
	w.c.Strays = []Stray{{ID: 7, Name: "m9"}}
	w.converge()
	if len(w.c.Strays) != 0 {
		t.Errorf("it is still there: %v", w.acts)
	}
	if err := w.isWhole(); err != nil {
		t.Error(err)
	}
}

func TestDrainsLeaveAMajorityAtEachStep(t *testing.T) {
	w := newWorld(t, 1)
	for _, size := range []int{1, 3, 5, 3, 1} {
		w.c.Replicas = size
		for range 100 {
			w.settle()
			w.carryOut(w.decide())
			if _, voters := w.c.votes(""); voters > 1 && MinAvailable(&w.c) < quorum(voters) {
				t.Fatalf("%d of %d voters would be left: %v", MinAvailable(&w.c), voters, w.acts)
			}
		}
	}
}

// TestWhateverHappensTheClusterComesToWhatIsWanted breaks and changes clusters at random, in between of steps, but never
// so that a majority is lost by what breaks; no step may lose it (carryOut looks), and in the end all is as wanted.
func TestWhateverHappensTheClusterComesToWhatIsWanted(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 15))
		w := newWorld(t, []int{1, 3, 5}[rng.IntN(3)])
		w.bad = "bad"
		for range 40 {
			for range rng.IntN(12) {
				w.settle()
				w.carryOut(w.decide())
			}
			w.settle()
			w.hurt(rng)
		}
		if w.c.Target == w.bad {
			w.c.Target = "z"
		}
		for i := range w.c.Members {
			if m := &w.c.Members[i]; !m.Healthy {
				m.UnhealthyFor = time.Hour
			}
		}
		w.c.Replicas = 3
		for range 6 {
			w.converge()
			for i := range w.c.Members {
				if m := &w.c.Members[i]; !m.Healthy {
					m.UnhealthyFor = time.Hour
				}
			}
		}
		if err := w.isWhole(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// hurt changes the spec, or does to a member what may happen to it.
func (w *world) hurt(rng *rand.Rand) {
	if rng.IntN(3) == 0 {
		w.c.Replicas = []int{0, 1, 3, 5, 7}[rng.IntN(5)]
	}
	if rng.IntN(3) == 0 {
		w.c.Target = string(rune('a' + rng.IntN(4)))
	}
	if len(w.c.Members) == 0 {
		return
	}
	m := &w.c.Members[rng.IntN(len(w.c.Members))]
	healthy, voters := w.c.votes(m.Name)
	bears := voters > 0 && healthy >= quorum(voters+1) || m.Learner
	switch rng.IntN(6) {
	case 0:
		m.Removing = true
	case 1:
		if bears {
			m.Pod, m.Healthy = PodLeaving, false
		}
	case 2:
		if bears && m.Listed {
			w.wiped[m.Name] = true
		}
	case 3:
		if bears && m.Pod == PodThere {
			m.PodHash = w.bad // sick until it is made anew
			m.UnhealthyFor = time.Duration(rng.IntN(600)) * time.Second
		}
	case 4:
		if bears && m.Listed && m.State == Joined {
			m.Listed, m.Leader = false, false // somebody took it out of the list
		}
	}
}
