// Package plan decides what is to be done next with an etcd cluster. It is pure: what is known of the cluster
// goes in, one step comes out, and the same is decided again after a crash.
//
// Its order is that of safety: what keeps or brings back a majority comes before what people have asked for, and
// no step takes a member away while the others would not be a majority without it.
package plan

import (
	"fmt"
	"slices"
	"time"
)

// Act is what a step does.
type Act string

// The acts. Each is one write to Kubernetes or to etcd, and may be done twice.
const (
	// Wait does nothing: Why says for what.
	Wait Act = "Wait"
	// MakeSeed makes the member that forms the cluster, MakeMember another one.
	MakeSeed   Act = "MakeSeed"
	MakeMember Act = "MakeMember"
	// AddLearner tells etcd of a member that is to come.
	AddLearner Act = "AddLearner"
	// StartPod makes a member's pod, StopPod deletes it.
	StartPod Act = "StartPod"
	StopPod  Act = "StopPod"
	// MarkJoined writes down that a member has begun, and so must not lose its data.
	MarkJoined Act = "MarkJoined"
	// Promote makes a learner a voter.
	Promote Act = "Promote"
	// MoveLeader has the member To lead in place of Member.
	MoveLeader Act = "MoveLeader"
	// Remove begins a member's removal by deleting its EtcdMember, which stays until Release.
	Remove Act = "Remove"
	// RemoveFromEtcd takes a member out of etcd's list; RemoveStray one that has no EtcdMember.
	RemoveFromEtcd Act = "RemoveFromEtcd"
	RemoveStray    Act = "RemoveStray"
	// Release lets go of a member that is removed: what is left of it is its volume, for a while.
	Release Act = "Release"
	// Update has a member run what is wanted; its pod follows.
	Update Act = "Update"
)

// Step is what is to be done next.
type Step struct {
	Act Act
	// Member is whom it is done to, and To who leads afterwards.
	Member, To string
	// ID is that of a member without an EtcdMember.
	ID uint64
	// Why says it in words.
	Why string
}

// Cluster is what is known of a cluster.
type Cluster struct {
	// Replicas is how many members are wanted; 0: none is to run.
	Replicas int
	// Formed says that the cluster was formed once.
	Formed bool
	// Known says that etcd's list of members was read from a majority. What members say of Listed and Learner counts
	// only then.
	Known bool
	// Target is the hash of what members are to run.
	Target string
	// ReplaceAfter is after what time a member that is not healthy is replaced.
	ReplaceAfter time.Duration
	// Survivor is the member that the cluster is to go on with, since no majority is left; empty: none is.
	Survivor string
	// Members have an EtcdMember.
	Members []Member
	// Strays are in etcd's list, have a name that the operator gives, and no EtcdMember.
	Strays []Stray
	// ForeignVoters are so many more in etcd's list, which the operator did not make and does not ask: they count as not
	// healthy.
	ForeignVoters int
}

// Stray is a member in etcd's list alone.
type Stray struct {
	ID   uint64
	Name string
	// Healthy says that it answers; Learner that it has no vote.
	Healthy, Learner bool
}

// Pod is how far a member's pod is.
type Pod int

// The states of a pod.
const (
	PodAbsent Pod = iota
	PodThere
	PodLeaving
	PodEnded // it ended for good, such as by an eviction, and is not deleted
)

// State is how far a member is, by its EtcdMember.
type State int

// The states.
const (
	New     State = iota // etcd does not know it yet
	Joining              // etcd knows it
	Joined               // it has begun
)

// Member is what is known of a member.
type Member struct {
	Name string
	// Number orders members by age.
	Number int64
	State  State
	// Removing says that its EtcdMember is deleted.
	Removing bool
	// Hash is of what it is to run, PodHash of what its pod was made from.
	Hash, PodHash string
	Pod           Pod
	// Listed says that etcd has it in its list, Learner that it is no voter there.
	Listed, Learner bool
	// Healthy says that it answers, has its right identity and has what the others have.
	Healthy bool
	Leader  bool
	// Alone says that its pod was made to be the only member.
	Alone bool
	// Lost says why its data is gone, or not its own; empty: it is not.
	Lost string
	// UnhealthyFor is for how long it is not healthy.
	UnhealthyFor time.Duration
	// Trying says that it runs a change under which no member was healthy yet: what keeps it from that is the change, not
	// the member.
	Trying bool
	// Ready says that its pod is ready: its node sees it answer by a majority, whether or not the operator reaches it.
	Ready bool
	Zone  string
}

// Decide returns the next step.
func Decide(c *Cluster) Step {
	if !c.Formed {
		return c.form()
	}
	if c.Replicas == 0 {
		return c.hibernate()
	}
	if c.Survivor != "" && !c.Known {
		return c.recover()
	}
	for _, rule := range []func() *Step{
		c.start, c.repairWithoutMajority, c.unknown, c.mark, c.finishRemovals, c.removeStrays, c.discard, c.replace, c.surplus, c.join, c.promote, c.update, c.scale, c.unsettled,
	} {
		if step := rule(); step != nil {
			return *step
		}
	}
	return Step{Act: Wait}
}

// form brings the first member up.
func (c *Cluster) form() Step {
	if c.Replicas == 0 {
		return Step{Act: Wait, Why: "no member is wanted, and none was ever made"}
	}
	if len(c.Members) == 0 {
		return Step{Act: MakeSeed, Why: "the first member forms the cluster"}
	}
	seed := &c.Members[0]
	switch {
	case seed.Pod == PodEnded:
		return Step{Act: StopPod, Member: seed.Name, Why: "it has ended, and does not start again by itself"}
	case seed.Removing && seed.Pod == PodThere:
		return Step{Act: StopPod, Member: seed.Name, Why: "it is removed before it formed the cluster"}
	case seed.Removing && seed.Pod == PodAbsent:
		return Step{Act: Release, Member: seed.Name, Why: "it is removed before it formed the cluster"}
	case seed.Removing:
		return Step{Act: Wait, Why: seed.Name + " ends"}
	case seed.Hash != c.Target:
		return Step{Act: Update, Member: seed.Name, Why: "the spec has changed before the cluster was formed"}
	case seed.Pod == PodAbsent:
		return Step{Act: StartPod, Member: seed.Name, Why: "it forms the cluster"}
	case seed.Pod == PodThere && seed.PodHash != seed.Hash:
		return Step{Act: StopPod, Member: seed.Name, Why: "the spec has changed before the cluster was formed"}
	}
	return Step{Act: Wait, Why: "the first member starts: " + seed.Name}
}

// hibernate stops all members, the leader last.
func (c *Cluster) hibernate() Step {
	leaderLast := func(a, b Member) int { return boolean(a.Leader) - boolean(b.Leader) }
	for _, m := range slices.SortedStableFunc(slices.Values(c.Members), leaderLast) {
		if m.Pod == PodThere || m.Pod == PodEnded {
			return Step{Act: StopPod, Member: m.Name, Why: "the cluster hibernates"}
		}
	}
	return Step{Act: Wait, Why: "the cluster hibernates: its volumes keep the data"}
}

// recover has the cluster go on with one member. No other one may run meanwhile, nor come back afterwards with what it
// had: they would be a majority of the cluster as it was, and there would be two.
func (c *Cluster) recover() Step {
	for i := range c.Members {
		switch m := &c.Members[i]; {
		case m.Name == c.Survivor:
		case m.Pod == PodThere || m.Pod == PodEnded:
			return Step{Act: StopPod, Member: m.Name, Why: "the cluster goes on with " + c.Survivor + " alone"}
		case m.Pod == PodLeaving:
			return Step{Act: Wait, Why: "the cluster goes on with " + c.Survivor + " once " + m.Name + " has ended; if its node is gone for good, delete the node or the pod by force"}
		case !m.Removing:
			return Step{Act: Remove, Member: m.Name, Why: "the cluster goes on with " + c.Survivor + " alone"}
		}
	}
	for i := range c.Members {
		switch m := &c.Members[i]; {
		case m.Name != c.Survivor:
		case m.Pod == PodAbsent:
			return Step{Act: StartPod, Member: m.Name, Why: "it goes on alone, since no majority was left"}
		case m.Pod == PodEnded || m.Pod == PodThere && !m.Alone:
			return Step{Act: StopPod, Member: m.Name, Why: "it is to go on alone, since no majority is left"}
		default:
			return Step{Act: Wait, Why: "the cluster goes on with " + m.Name + " alone, which starts"}
		}
	}
	return Step{Act: Wait, Why: "the member that the cluster was to go on with is gone: " + c.Survivor}
}

// start makes the pods of members that etcd knows and that have none. What is left of a pod that has ended goes first.
func (c *Cluster) start() *Step {
	for i := range c.Members {
		m := &c.Members[i]
		if m.Pod == PodEnded {
			return &Step{Act: StopPod, Member: m.Name, Why: "it has ended, and does not start again by itself"}
		}
		needed := !c.Known || m.Listed && m.Lost == "" // who is listed is not known where no majority answers
		if m.Pod == PodAbsent && m.State != New && (!m.Removing || needed) {
			return &Step{Act: StartPod, Member: m.Name, Why: "it has no pod"}
		}
	}
	return nil
}

// repairWithoutMajority gives members that are not healthy what they are to run, where no majority answers: they cannot
// get worse by that, and one that was changed for the worse comes back by the change that mends it. Those that their nodes
// see serve are changed one at a time, while all do.
func (c *Cluster) repairWithoutMajority() *Step {
	if c.Known {
		return nil
	}
	allReady := !slices.ContainsFunc(c.Members, func(m Member) bool { return !m.Ready })
	for i := range c.Members {
		m := &c.Members[i]
		switch {
		case m.Removing || m.Healthy || m.UnhealthyFor < patience:
		case m.Ready && !allReady: // there is a majority, which only the operator does not reach
		case m.Hash != c.Target:
			return &Step{Act: Update, Member: m.Name, Why: "it is not healthy, and no majority is lost by it"}
		case m.Pod == PodThere && m.PodHash != m.Hash:
			return &Step{Act: StopPod, Member: m.Name, Why: "it is not healthy, and its pod is not what it is to be"}
		}
	}
	return nil
}

// patience is how long a member may be away without being restarted for a change while no majority answers.
const patience = 15 * time.Second

func (c *Cluster) unknown() *Step {
	if c.Known {
		return nil
	}
	healthy, voters := c.votes("")
	if voters == 0 {
		voters = len(c.Members)
	}
	return &Step{Act: Wait, Why: fmt.Sprintf("%d of %d members answer, which is no majority", healthy, voters)}
}

// mark writes down who has joined.
func (c *Cluster) mark() *Step {
	for i := range c.Members {
		if m := &c.Members[i]; m.Listed && m.Healthy && m.State != Joined {
			return &Step{Act: MarkJoined, Member: m.Name, Why: "it has begun"}
		}
	}
	return nil
}

// finishRemovals goes on with the removal of members whose EtcdMember is deleted: out of etcd, then the pod, then
// the rest. One that is healthy stays until there are enough without it; one that the others need for a majority, until
// they do not.
func (c *Cluster) finishRemovals() *Step {
	leaving := make([]*Member, 0, 1)
	for i := range c.Members {
		if c.Members[i].Removing {
			leaving = append(leaving, &c.Members[i])
		}
	}
	slices.SortStableFunc(leaving, func(a, b *Member) int { return boolean(a.Healthy) - boolean(b.Healthy) })
	for _, m := range leaving {
		switch {
		case m.Listed && (!c.canLose(m) || m.Healthy && m.Lost == "" && !m.Learner && c.stayingVoters() < c.Replicas):
			continue
		case m.Listed:
			return c.takeOut(m)
		case m.Pod == PodThere:
			return &Step{Act: StopPod, Member: m.Name, Why: "it was taken out of the cluster"}
		case m.Pod == PodLeaving:
			continue // it may never end, where its node is gone: the others do not wait for it
		default:
			return &Step{Act: Release, Member: m.Name, Why: "it was taken out of the cluster, and has ended"}
		}
	}
	return nil
}

// staying counts the members that are not about to be removed.
func (c *Cluster) staying() (n int) {
	for i := range c.Members {
		n += boolean(!c.Members[i].Removing)
	}
	return n
}

// stayingVoters counts those of them that vote and are healthy.
func (c *Cluster) stayingVoters() (n int) {
	for i := range c.Members {
		m := &c.Members[i]
		n += boolean(!m.Removing && m.Listed && !m.Learner && m.Healthy)
	}
	return n
}

// takeOut takes a member out of etcd's list.
func (c *Cluster) takeOut(m *Member) *Step {
	if m.Leader {
		if to := c.successor(m); to != "" {
			return &Step{Act: MoveLeader, Member: m.Name, To: to, Why: "it leads, and is about to be removed"}
		}
	}
	return &Step{Act: RemoveFromEtcd, Member: m.Name, Why: "it is removed"}
}

// canLose says whether the voters are a majority, and stay one, when a member is taken out of the list.
func (c *Cluster) canLose(m *Member) bool {
	if m.Learner {
		return true
	}
	healthy, voters := c.votes(m.Name)
	return voters > 0 && healthy >= quorum(voters)
}

// votes counts the voters but one, and the healthy ones of them.
func (c *Cluster) votes(but string) (healthy, voters int) {
	for i := range c.Members {
		if m := &c.Members[i]; m.Listed && !m.Learner && m.Name != but {
			voters++
			healthy += boolean(m.Healthy)
		}
	}
	for _, stray := range c.Strays {
		if !stray.Learner {
			voters++
			healthy += boolean(stray.Healthy)
		}
	}
	return healthy, voters + c.ForeignVoters
}

// successor is a healthy voter that may lead in place of another one: of those that are what they are to be the
// oldest, else the oldest of all.
func (c *Cluster) successor(of *Member) string {
	best := (*Member)(nil)
	for i := range c.Members {
		m := &c.Members[i]
		if m.Name == of.Name || !m.Listed || m.Learner || !m.Healthy || m.Removing || m.Pod != PodThere {
			continue
		}
		if best == nil || c.settled(m) && !c.settled(best) || c.settled(m) == c.settled(best) && m.Number < best.Number {
			best = m
		}
	}
	if best == nil {
		return ""
	}
	return best.Name
}

// settled says whether a member runs what it is to run.
func (c *Cluster) settled(m *Member) bool { return m.Hash == c.Target && m.PodHash == m.Hash }

// removeStrays takes members out of etcd's list whose EtcdMember is gone, by somebody's hand.
func (c *Cluster) removeStrays() *Step {
	for _, stray := range c.Strays {
		healthy, voters := c.votes("")
		if !stray.Learner {
			healthy, voters = healthy-boolean(stray.Healthy), voters-1
		}
		if voters > 0 && healthy >= quorum(voters) {
			return &Step{Act: RemoveStray, ID: stray.ID, Member: stray.Name, Why: "etcd lists it, and there is no EtcdMember of it"}
		}
	}
	return nil
}

// discard removes members that etcd has forgotten.
func (c *Cluster) discard() *Step {
	for i := range c.Members {
		if m := &c.Members[i]; !m.Listed && m.State != New && !m.Removing {
			return &Step{Act: Remove, Member: m.Name, Why: "etcd does not list it any more"}
		}
	}
	return nil
}

// replace begins to remove a member whose data is lost, or that does not come back. Another one takes its place by
// [Cluster.scale].
func (c *Cluster) replace() *Step {
	sick := make([]*Member, 0, 1)
	for i := range c.Members {
		m := &c.Members[i]
		if m.Listed && !m.Removing && (m.Lost != "" || !m.Healthy && !m.Ready && !m.Trying && c.ReplaceAfter > 0 && m.UnhealthyFor > c.ReplaceAfter) {
			sick = append(sick, m)
		}
	}
	slices.SortStableFunc(sick, func(a, b *Member) int { return boolean(b.Lost != "") - boolean(a.Lost != "") })
	for _, m := range sick {
		if !c.canLose(m) {
			continue
		}
		why := m.Lost
		if why == "" {
			why = fmt.Sprintf("it is not healthy for %s", m.UnhealthyFor.Round(time.Second))
		}
		return &Step{Act: Remove, Member: m.Name, Why: why}
	}
	return nil
}

// surplus begins to remove members that have no vote yet and are not wanted any more: nobody waits for them to get one.
func (c *Cluster) surplus() *Step {
	if c.staying() <= c.Replicas {
		return nil
	}
	for i := range slices.Backward(c.Members) {
		if m := &c.Members[i]; !m.Removing && (m.Listed && m.Learner || !m.Listed && m.State == New) {
			return &Step{Act: Remove, Member: m.Name, Why: "it has no vote yet, and is not wanted any more"}
		}
	}
	return nil
}

// join tells etcd of a member that is to come, one at a time.
func (c *Cluster) join() *Step {
	learner := slices.ContainsFunc(c.Members, func(m Member) bool { return m.Listed && m.Learner }) ||
		slices.ContainsFunc(c.Strays, func(s Stray) bool { return s.Learner })
	for i := range c.Members {
		m := &c.Members[i]
		switch {
		case m.State != New || m.Removing:
		case m.Listed:
			return &Step{Act: AddLearner, Member: m.Name, Why: "etcd knows it, which was not written down"}
		case m.Hash != c.Target:
			return &Step{Act: Update, Member: m.Name, Why: "the spec has changed before it joined"}
		case learner:
			return &Step{Act: Wait, Why: "another member is joining"}
		default:
			return &Step{Act: AddLearner, Member: m.Name, Why: "it joins without a vote, until it has what the others have"}
		}
	}
	return nil
}

// promote makes a learner a voter once it has what the others have.
func (c *Cluster) promote() *Step {
	for i := range c.Members {
		m := &c.Members[i]
		switch {
		case !m.Listed || !m.Learner || m.Removing:
		case m.Healthy && m.State == Joined:
			return &Step{Act: Promote, Member: m.Name, Why: "it has what the others have"}
		case m.Hash != c.Target:
			return &Step{Act: Update, Member: m.Name, Why: "the spec has changed before it was a voter"}
		case m.PodHash != m.Hash && m.Pod == PodThere:
			return &Step{Act: StopPod, Member: m.Name, Why: "the spec has changed before it was a voter"}
		default:
			return &Step{Act: Wait, Why: m.Name + " starts, and gets what the others have"}
		}
	}
	return nil
}

// update brings members to what they are to run, one at a time: those that are not healthy first, then followers,
// the leader last.
func (c *Cluster) update() *Step {
	order := slices.SortedStableFunc(slices.Values(c.Members), func(a, b Member) int { return rank(&a) - rank(&b) })
	for i := range order {
		m := &order[i]
		if m.Removing {
			continue
		}
		if !m.Healthy && c.settled(m) {
			return &Step{Act: Wait, Why: m.Name + " is not healthy"}
		}
		if c.settled(m) {
			continue
		}
		if healthy, voters := c.votes(""); !m.Healthy && m.Ready && !m.Learner && healthy < quorum(voters) {
			continue // a majority answers, so that it is one of those who make it
		}
		if healthy, others := c.votes(m.Name); m.Healthy && !m.Learner && others > 0 && (healthy < others || healthy < quorum(others+1)) {
			return nil // the others are no majority without it, or about to be none
		}
		switch {
		case m.Pod == PodLeaving:
			return &Step{Act: Wait, Why: m.Name + " ends"}
		case m.Hash != c.Target:
			return &Step{Act: Update, Member: m.Name, Why: "the spec asks for something else than it runs"}
		case m.Leader && c.successor(m) != "":
			return &Step{Act: MoveLeader, Member: m.Name, To: c.successor(m), Why: "it leads, and is about to be restarted"}
		default:
			return &Step{Act: StopPod, Member: m.Name, Why: "its pod is not what it is to be"}
		}
	}
	return nil
}

// rank orders members for a change.
func rank(m *Member) int {
	switch {
	case !m.Healthy:
		return 0
	case m.Leader:
		return 2
	}
	return 1
}

// scale brings the number of members to what is wanted, one at a time.
func (c *Cluster) scale() *Step {
	staying := c.staying()
	if i := slices.IndexFunc(c.Members, func(m Member) bool { return !m.Healthy && !m.Removing }); i >= 0 && staying <= c.Replicas {
		if staying == c.Replicas {
			return &Step{Act: Wait, Why: c.Members[i].Name + " is not healthy"}
		}
		if healthy, voters := c.votes(""); healthy < quorum(voters)+1 && voters > 2 {
			return &Step{Act: Wait, Why: fmt.Sprintf("members are added once %s is healthy, or replaced", c.Members[i].Name)}
		}
	}
	switch {
	case staying < c.Replicas:
		return &Step{Act: MakeMember, Why: fmt.Sprintf("%d of %d members are there", staying, c.Replicas)}
	case staying > c.Replicas:
		m := c.dispensable()
		if !c.canLose(m) {
			return &Step{Act: Wait, Why: "members are removed while a majority of the others is healthy"}
		}
		return &Step{Act: Remove, Member: m.Name, Why: fmt.Sprintf("%d members are there, and %d are wanted", staying, c.Replicas)}
	}
	for i := range c.Members {
		switch m := &c.Members[i]; {
		case m.Removing && !m.Listed:
			return &Step{Act: Wait, Why: m.Name + " ends"}
		case m.Removing:
			return &Step{Act: Wait, Why: m.Name + " is removed once a majority of the others is healthy"}
		}
	}
	return nil
}

// unsettled says that members are not what they are to be, and that this has to wait.
func (c *Cluster) unsettled() *Step {
	for i := range c.Members {
		if m := &c.Members[i]; !c.settled(m) {
			return &Step{Act: Wait, Why: m.Name + " is changed once all other voters are healthy"}
		}
	}
	return nil
}

// dispensable is the member that goes first: one that is not healthy; else one of the zone that has most, and there
// rather one that does not lead, and the youngest.
func (c *Cluster) dispensable() *Member {
	zones := map[string]int{}
	for i := range c.Members {
		zones[c.Members[i].Zone]++
	}
	var best *Member
	for i := range c.Members {
		m := &c.Members[i]
		if m.Removing {
			continue
		}
		if best == nil {
			best = m
		}
		for _, differs := range []int{
			boolean(best.Healthy) - boolean(m.Healthy), zones[m.Zone] - zones[best.Zone], boolean(best.Leader) - boolean(m.Leader), int(m.Number - best.Number),
		} {
			if differs > 0 {
				best = m
			}
			if differs != 0 {
				break
			}
		}
	}
	return best
}

// quorum is how many of so many voters are a majority.
func quorum(voters int) int { return voters/2 + 1 }

// MinAvailable is how many members node drains must leave: a majority of the voters that there are, or will be, so that
// the budget is right before each change. Voters without an EtcdMember count too, as ones that may not answer. One member alone bears no drain, but keeps no node from being drained.
func MinAvailable(c *Cluster) int {
	voters := 0
	for i := range c.Members {
		if c.Members[i].Listed || c.Members[i].State != New {
			voters++ // learners are about to vote
		}
	}
	if voters <= 1 || c.Replicas == 0 {
		return 0
	}
	others := c.ForeignVoters
	for _, stray := range c.Strays {
		others += boolean(!stray.Learner)
	}
	return min(voters, quorum(voters+others)) // drains end no pods but those of members
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
