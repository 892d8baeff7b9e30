package plan

import (
	"fmt"
	"slices"
	"time"
)

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
