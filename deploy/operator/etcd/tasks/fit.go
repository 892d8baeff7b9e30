package tasks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/etcd/inspect/brief"
	"gridrouter.io/deploy/etcd/inspect/keyspace"
)

// fit says whether a task may be begun now. Both empty: it may.
type fit struct {
	// rejected is why it never may, waits why it may not yet.
	rejected, waits string
}

// protected is where the routers' documents are, of which no task removes anything.
const protected = "/gridrouter/"

// fits says whether a task may be begun on a cluster, by what the API server knows of both. all are the tasks of the
// cluster. c is nil where there is none.
func fits(t *v1alpha1.EtcdTask, c *v1alpha1.EtcdCluster, all []v1alpha1.EtcdTask) fit {
	switch owner := ownerOf(t); {
	case c == nil:
		return fit{rejected: fmt.Sprintf("there is no EtcdCluster %s in the namespace %s: make a task that names one", t.Spec.Cluster, t.Namespace)}
	case owner != "" && owner != c.UID:
		return fit{rejected: "the cluster was deleted, and another one has its name: make another task for that"}
	case c.DeletionTimestamp != nil:
		return fit{waits: "the cluster is being deleted"} // and this task with it
	case c.Status.ClusterID == "":
		return fit{rejected: "the cluster is not formed yet: make the task anew when it is Available"}
	case c.Spec.Replicas != nil && *c.Spec.Replicas == 0:
		return fit{rejected: "the cluster hibernates, so that nobody can be asked: scale it up, and make the task anew"}
	}
	if why := fieldsFit(t, c, all); why != "" {
		return fit{rejected: why}
	}
	if actOf(&t.Spec).changes {
		return fit{waits: unsettled(t, c)}
	}
	return fit{}
}

// fieldsFit says what of a task does not fit its cluster.
func fieldsFit(t *v1alpha1.EtcdTask, c *v1alpha1.EtcdCluster, all []v1alpha1.EtcdTask) string {
	switch s := &t.Spec; {
	case s.MoveLeader != nil:
		return noMember(c, s.MoveLeader.To)
	case s.ReplaceMember != nil && t.Status.Attempts == 0: // later it may be gone, which is what was asked for
		return noMember(c, s.ReplaceMember.Name)
	case s.PrunePrefix != nil && !dry(s.PrunePrefix):
		if _, found := dryRunOf(t, all); !found {
			return fmt.Sprintf("no task of this cluster is a dry run of %s that succeeded with this token: make one with dryRun true, read its result, and write its token",
				brief.Key([]byte(s.PrunePrefix.Prefix)))
		}
	}
	return ""
}

func noMember(c *v1alpha1.EtcdCluster, name string) string {
	names := make([]string, 0, len(c.Status.Members))
	for i := range c.Status.Members {
		names = append(names, c.Status.Members[i].Name)
	}
	if slices.Contains(names, name) {
		return ""
	}
	return fmt.Sprintf("the cluster has no member %s: it has %s", name, strings.Join(names, ", "))
}

// unsettled says why an act that changes something waits. A member that is not healthy may be replaced all the same:
// that is what people replace members for, and the operator of the cluster sees to the order.
func unsettled(t *v1alpha1.EtcdTask, c *v1alpha1.EtcdCluster) string {
	if c.Spec.Paused {
		return "the cluster is paused: it goes on when spec.paused is false"
	}
	going := meta.FindStatusCondition(c.Status.Conditions, string(v1alpha1.ConditionProgressing))
	switch {
	case going == nil || going.ObservedGeneration != c.Generation:
		return "the cluster is about to be changed: it goes on when Progressing is Complete"
	case going.Reason == string(v1alpha1.ReasonComplete), going.Reason == string(v1alpha1.ReasonRolledBack):
		return ""
	case going.Reason == string(v1alpha1.ReasonMembersWaiting) && t.Spec.ReplaceMember != nil:
		return ""
	}
	return fmt.Sprintf("the cluster is being changed (%s): it goes on when Progressing is Complete", going.Reason)
}

// dry says whether a removal is a dry run, which is the default.
func dry(p *v1alpha1.EtcdTaskPrunePrefix) bool { return p.DryRun == nil || *p.DryRun }

// dryRunOf finds what the dry run saw whose token a task has.
func dryRunOf(t *v1alpha1.EtcdTask, all []v1alpha1.EtcdTask) (keyspace.Doomed, bool) {
	for i := range all {
		p, result := all[i].Spec.PrunePrefix, all[i].Status.Result
		if p == nil || !dry(p) || p.Prefix != t.Spec.PrunePrefix.Prefix || all[i].Status.State != v1alpha1.EtcdTaskSucceeded || result == nil {
			continue
		}
		var seen keyspace.Doomed
		if err := json.Unmarshal(result.Raw, &seen); err == nil && seen.Token != "" && seen.Token == t.Spec.PrunePrefix.Token {
			return seen, true
		}
	}
	return keyspace.Doomed{}, false
}

// ownerOf is the cluster that a task goes with; empty: none yet.
func ownerOf(t *v1alpha1.EtcdTask) types.UID {
	at := slices.IndexFunc(t.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "EtcdCluster" })
	if at < 0 {
		return ""
	}
	return t.OwnerReferences[at].UID
}
