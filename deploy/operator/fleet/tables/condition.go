package tables

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The reasons of the condition ConfigSynced, as the API has them.
const (
	ReasonInSync          = "InSync"
	ReasonRoutersLag      = "RoutersLag"
	ReasonTablesDiffer    = "TablesDiffer"
	ReasonNoStatus        = "NoStatus"
	ReasonEtcdUnreachable = "EtcdUnreachable"
)

// mostNamed is how many routers a message names.
const mostNamed = 3

// Condition is the condition ConfigSynced without what Kubernetes adds.
type Condition struct {
	// Status is True, False or Unknown.
	Status string
	// Reason is one of the reasons above.
	Reason string
	// Message says it in words, with a few of the routers' names.
	Message string
}

// Synced says whether a fleet's ready routers have the same tables. looked: there is a report, as
// [Pool.Latest] says. The message changes with what it tells of alone, but for the age of what is known
// while etcd cannot be read, in whole minutes.
func Synced(r Report, looked bool, j Judgement, now time.Time) Condition {
	switch {
	case !looked:
		return Condition{"Unknown", ReasonNoStatus, "the routers' status keys have not been read yet"}
	case r.Err != nil:
		return Condition{"Unknown", ReasonEtcdUnreachable, unread(r, now)}
	case len(j.Differing) > 0:
		return Condition{"False", ReasonTablesDiffer, fmt.Sprintf(
			"%s: another table than most at the same revision; compare with gridctl fleet and gridctl explain, then restart the one that is wrong", named(j.Differing, j.Ready))}
	case len(j.Lagging) > 0:
		return Condition{"False", ReasonRoutersLag, fmt.Sprintf(
			"%s: behind what most peers have; see /table and the log there, and restart a router that does not follow", named(j.Lagging, j.Ready))}
	case len(j.Ahead) > 0:
		return Condition{"False", ReasonRoutersLag, fmt.Sprintf(
			"%s: ahead of what most have; if etcd was restored it follows soon, if not the others do not follow: see /table and the log there", named(j.Ahead, j.Ready))}
	case j.Ready == 0:
		return Condition{"Unknown", ReasonNoStatus, "no router is ready"}
	case len(j.Silent) > 0:
		return Condition{"Unknown", ReasonNoStatus, fmt.Sprintf(
			"%s: ready, but without a readable status key; see the log there, and whether the user of etcd may write under fleet/", named(j.Silent, j.Ready))}
	case j.Told == 0:
		return Condition{"Unknown", ReasonNoStatus, "no router has told of its table yet"}
	}
	return Condition{"True", ReasonInSync, "all ready routers have the same table"}
}

func unread(r Report, now time.Time) string {
	if r.At.IsZero() {
		return r.Err.Error()
	}
	age := now.Sub(r.At).Truncate(time.Minute)
	if age < time.Minute {
		return r.Err.Error() + "; what is known of tables is less than a minute old"
	}
	return fmt.Sprintf("%s; what is known of tables is %d minutes old", r.Err, int(age.Minutes()))
}

// named says how many of how many routers are meant, and names a few.
func named(names []string, of int) string {
	few := slices.Clone(names[:min(len(names), mostNamed)])
	if more := len(names) - len(few); more > 0 {
		few = append(few, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%d of %d ready routers (%s)", len(names), of, strings.Join(few, ", "))
}
