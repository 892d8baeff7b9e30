// Package plan decides what is to be done next with an etcd cluster. It is pure: what is known of the cluster
// goes in, one step comes out, and the same is decided again after a crash.
//
// Its order is that of safety: what keeps or brings back a majority comes before what people have asked for, and
// no step takes a member away while the others would not be a majority without it.
package plan

import (
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
	// Abandoned says that the cluster went on without it once no majority was left: it must never run again, since it may
	// be part of a majority of the cluster as it was.
	Abandoned bool
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

// settled says whether a member runs what it is to run.
func (c *Cluster) settled(m *Member) bool { return m.Hash == c.Target && m.PodHash == m.Hash }

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
