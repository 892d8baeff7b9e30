package plan

import (
	"fmt"
	"slices"
	"time"
)

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
		case !m.Removing || !m.Abandoned:
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
		if m.Pod == PodAbsent && m.State != New && !m.Abandoned && (!m.Removing || needed) {
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
