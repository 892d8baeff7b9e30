package plan

import (
	"fmt"
	"slices"
)

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
