package etcd

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	etcdmember "gridrouter.io/deploy/etcd/member"
	"gridrouter.io/deploy/operator/etcd/maintain"
	"gridrouter.io/deploy/operator/etcd/observe"
	"gridrouter.io/deploy/operator/etcd/plan"
	"gridrouter.io/deploy/operator/etcd/render"
)

// world is what a reconcile sees. Nothing of it changes while it lasts but the status of the cluster.
type world struct {
	c       *v1alpha1.EtcdCluster
	now     time.Time
	members []*member
	// claims are those of the cluster, also of members that are gone.
	claims []corev1.PersistentVolumeClaim
	report observe.Report
	// asked says that the members were asked at all.
	asked bool
	// target is what members are to run, and hash its name; current is what they ran before.
	target  v1alpha1.EtcdMemberTemplate
	hash    string
	current string
	strays  []plan.Stray
	// certificates are those of the cluster; nil: it has none.
	certificates *certificates
	// maintained is what is known of the maintenance, and badSchedule why there is none by schedule; empty: nothing.
	maintained  maintain.State
	badSchedule string
	// foreign are members in etcd's list that the operator never names so.
	foreign []string
	// former are members that a cluster of the same name left, and that are deleted.
	former []*v1alpha1.EtcdMember
	// foreignVoters is how many of them vote.
	foreignVoters int
}

// member is one member, as it is in Kubernetes and in etcd.
type member struct {
	o      *v1alpha1.EtcdMember
	number int64
	pod    *corev1.Pod
	claim  *corev1.PersistentVolumeClaim
	listed *observe.Listed
	seen   observe.Member
	// healthy says that it answers, is who it should be and has what the others have; problem else why not.
	healthy bool
	problem string
	// lost says why its data is gone; empty: it is not.
	lost string
	zone string
}

// look reads everything that a reconcile decides by, from a cache or from the API server.
func (r *Reconciler) look(ctx context.Context, c *v1alpha1.EtcdCluster, from client.Reader) (*world, error) {
	w := &world{c: c, now: r.options.Now()}
	w.report, w.asked = r.options.Members.Report(idOf(c))
	ofCluster := []client.ListOption{client.InNamespace(c.Namespace), client.MatchingLabels{render.LabelCluster: c.Name}}
	var records v1alpha1.EtcdMemberList
	if err := from.List(ctx, &records, ofCluster...); err != nil {
		return nil, fmt.Errorf("list EtcdMembers: %w", err)
	}
	var pods corev1.PodList
	if err := from.List(ctx, &pods, ofCluster...); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var claims corev1.PersistentVolumeClaimList
	if err := from.List(ctx, &claims, ofCluster...); err != nil {
		return nil, fmt.Errorf("list claims: %w", err)
	}
	w.claims = slices.DeleteFunc(claims.Items, func(claim corev1.PersistentVolumeClaim) bool { return claim.Labels[render.LabelOwner] != string(c.UID) })
	for i := range records.Items {
		o := &records.Items[i]
		number, named := render.NumberOf(c.Name, o.Name)
		if !metav1.IsControlledBy(o, c) && o.DeletionTimestamp != nil && o.Spec.Cluster == c.Name {
			w.former = append(w.former, o)
		}
		if !named || !metav1.IsControlledBy(o, c) {
			continue // somebody else's
		}
		m := &member{o: o, number: number}
		if at := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.Name == o.Name && metav1.IsControlledBy(&p, c) }); at >= 0 {
			m.pod = &pods.Items[at]
			m.zone = r.zoneOf(ctx, m.pod)
		}
		if at := slices.IndexFunc(w.claims, func(claim corev1.PersistentVolumeClaim) bool { return claim.Name == o.Name }); at >= 0 {
			m.claim = &w.claims[at]
		}
		w.members = append(w.members, m)
	}
	slices.SortFunc(w.members, func(a, b *member) int { return int(a.number - b.number) })
	w.seeEtcd()
	w.choose()
	return w, nil
}

// seeEtcd adds what etcd says of its members.
func (w *world) seeEtcd() {
	for i := range w.report.List {
		l := &w.report.List[i]
		m := w.byListing(l)
		switch name := w.nameOf(l); {
		case m != nil:
			m.listed = l
		case name == "":
			w.foreign = append(w.foreign, fmt.Sprintf("%s (%x)", l.Name, l.ID))
			if !l.Learner {
				w.foreignVoters++
			}
		default:
			w.strays = append(w.strays, plan.Stray{ID: l.ID, Name: name, Learner: l.Learner})
		}
	}
	for _, m := range w.members {
		w.judge(m)
	}
}

// byListing finds the member that etcd's list means: by its id, and before that is known by where it listens.
func (w *world) byListing(l *observe.Listed) *member {
	for _, m := range w.members {
		if m.o.Status.ID != "" && m.o.Status.ID == hex(l.ID) || m.o.Status.ID == "" && slices.Contains(l.PeerURLs, render.PeerURL(w.c, m.o.Name)) {
			return m
		}
	}
	return nil
}

// nameOf is the name that the operator gave a member in etcd's list; empty: it gave none.
func (w *world) nameOf(l *observe.Listed) string {
	for _, url := range l.PeerURLs {
		if name := render.MemberOf(w.c, url); name != "" {
			return name
		}
	}
	return ""
}

// judge says whether a member is healthy.
func (w *world) judge(m *member) {
	m.lost = lost(m.pod)
	seen, asked := w.report.Members[m.o.Name]
	switch {
	case m.pod == nil:
		m.problem = "it has no pod"
	case m.pod.DeletionTimestamp != nil:
		m.problem = "its pod ends"
	case ended(m.pod):
		m.problem = clipped("its pod has ended: " + m.pod.Status.Reason + " " + m.pod.Status.Message)
	case m.lost != "":
		m.problem = m.lost
	case !asked || seen.URL != clientURL(w.c, m.pod):
		m.problem = "its pod has not answered yet"
	default:
		m.seen = seen
		m.healthy, m.problem = w.report.Healthy(m.o.Name)
		switch id := m.o.Status.ID; {
		case !m.healthy:
		case w.c.Status.ClusterID != "" && hex(seen.ClusterID) != w.c.Status.ClusterID:
			m.healthy, m.problem = false, fmt.Sprintf("it belongs to the cluster %x, which is not ours: its volume holds somebody else's data", seen.ClusterID)
			m.lost = m.problem
		case id != "" && hex(seen.ID) != id:
			m.healthy, m.problem = false, fmt.Sprintf("it has the id %x, and ours has %s", seen.ID, id)
			m.lost = m.problem
		}
	}
	if why := waiting(m.pod); !m.healthy && m.lost == "" && why != "" {
		m.problem = why
	}
}

// choose finds what members are to run: what the spec asks for, or what they ran before if that was taken back.
func (w *world) choose() {
	w.target = render.TemplateOf(w.c)
	w.hash = render.Hash(&w.target)
	if w.c.Status.Template != nil {
		w.current = render.Hash(w.c.Status.Template)
	}
	if refused := w.c.Status.Refused; refused != nil && refused.Hash == w.hash && w.current != "" && w.current != w.hash {
		storage := w.target.Storage
		w.target = *w.c.Status.Template.DeepCopy()
		w.target.Storage = storage // it grows all the same
		w.hash = w.current
	}
}

// changing says whether members are on their way to something that they did not run before.
func (w *world) changing() bool { return w.current != "" && w.current != w.hash }

// trying says whether a member runs a change under which no member was ever healthy: that is the fault of the change.
func (w *world) trying(m *member) bool {
	return w.changing() && render.Hash(&m.o.Spec.Template) == w.hash &&
		!slices.ContainsFunc(w.members, func(m *member) bool { return m.o.Status.HealthyHash == w.hash })
}

// plan is what is known of the cluster, as decisions need it.
func (w *world) plan() *plan.Cluster {
	p := &plan.Cluster{
		Replicas: replicasOf(w.c), Formed: w.c.Status.ClusterID != "", Known: w.report.Known, Target: w.hash,
		ReplaceAfter: durationOf(w.c.Spec.SelfHeal.ReplaceAfter, 5*time.Minute), Strays: w.strays, ForeignVoters: w.foreignVoters,
	}
	if w.c.Status.Recovery != nil {
		p.Survivor = w.c.Status.Recovery.Survivor
	}
	for _, m := range w.members {
		one := plan.Member{
			Name: m.o.Name, Number: m.number, State: stateOf(m.o), Removing: m.o.DeletionTimestamp != nil, Hash: render.Hash(&m.o.Spec.Template),
			Healthy: m.healthy, Leader: m.healthy && m.seen.Leader == m.seen.ID, Lost: m.lost, Zone: m.zone, Trying: w.trying(m), Ready: isReady(m.pod), Abandoned: m.o.Annotations[render.AnnotationAbandoned] != "",
		}
		switch {
		case m.pod == nil:
		case m.pod.DeletionTimestamp != nil:
			one.Pod = plan.PodLeaving
		case ended(m.pod):
			one.Pod = plan.PodEnded
		default:
			one.Pod = plan.PodThere
		}
		if m.pod != nil {
			one.PodHash = m.pod.Annotations[render.AnnotationTemplate]
			if w.mustRestart(m) {
				one.PodHash = "" // a new pod has the CAs that there are now
			}
		}
		if recovery := w.c.Status.Recovery; recovery != nil && m.pod != nil {
			one.Alone = m.pod.Annotations[render.AnnotationAlone] == recovery.Token
		}
		if m.listed != nil {
			one.Listed, one.Learner = true, m.listed.Learner
		}
		if since := m.o.Status.UnhealthySince; since != nil {
			one.UnhealthyFor = w.now.Sub(since.Time)
		}
		p.Members = append(p.Members, one)
	}
	return p
}

// stateOf is how far a member is. The one that forms the cluster is in it from the start.
func stateOf(o *v1alpha1.EtcdMember) plan.State {
	switch o.Status.State {
	case v1alpha1.MemberJoined, v1alpha1.MemberLeaving:
		return plan.Joined
	case v1alpha1.MemberJoining:
		return plan.Joining
	case v1alpha1.MemberNew:
	}
	if o.Spec.Seed {
		return plan.Joining
	}
	return plan.New
}

// lost says why a member's data is gone or not its own, by the status with which its container ended.
func lost(pod *corev1.Pod) string {
	if pod == nil {
		return ""
	}
	for i := range pod.Status.ContainerStatuses {
		s := &pod.Status.ContainerStatuses[i]
		if s.Name != render.Container || s.State.Running != nil && s.Ready {
			continue
		}
		for _, end := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
			if end == nil {
				continue
			}
			switch end.ExitCode {
			case etcdmember.ExitDataLost, etcdmember.ExitOtherMember, etcdmember.ExitUnreadable:
				if end.Message != "" {
					return clipped(end.Message)
				}
				return "its volume does not hold its data (exit status " + strconv.Itoa(int(end.ExitCode)) + ")"
			}
			break
		}
	}
	return ""
}

// isReady says whether a pod's node finds it ready.
func isReady(pod *corev1.Pod) bool {
	return pod != nil && pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// ended says whether a pod has ended for good, as one does that was evicted. Its containers do not start again.
func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// waiting is why a pod does not run; empty: it does, or says nothing.
func waiting(pod *corev1.Pod) string {
	if pod == nil {
		return ""
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return clipped("its pod is not scheduled: " + c.Message)
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.State.Waiting != nil && s.State.Waiting.Reason != "PodInitializing" && s.State.Waiting.Reason != "ContainerCreating" {
			why := fmt.Sprintf("its container %s waits: %s", s.Name, s.State.Waiting.Reason)
			if end := s.LastTerminationState.Terminated; end != nil {
				why += fmt.Sprintf("; it ended with exit status %d %s", end.ExitCode, end.Message)
			} else if s.State.Waiting.Message != "" {
				why += ": " + s.State.Waiting.Message
			}
			return clipped(why)
		}
	}
	return ""
}

// clientURL is where a member's pod listens to clients; empty: it has no address yet.
func clientURL(c *v1alpha1.EtcdCluster, pod *corev1.Pod) string {
	if pod == nil || pod.Status.PodIP == "" || pod.DeletionTimestamp != nil || ended(pod) { // whose address may be another's now
		return ""
	}
	s := "https"
	if c.Spec.TLS.Mode == v1alpha1.EtcdTLSOff {
		s = "http"
	}
	host := pod.Status.PodIP
	if slices.Contains([]byte(host), ':') {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s://%s:%d", s, host, render.ClientPort)
}

func replicasOf(c *v1alpha1.EtcdCluster) int {
	if c.Spec.Replicas == nil {
		return 3
	}
	return int(*c.Spec.Replicas)
}

func durationOf(d *metav1.Duration, absent time.Duration) time.Duration {
	if d == nil {
		return absent
	}
	return d.Duration
}

func hex(id uint64) string { return strconv.FormatUint(id, 16) }

// clipped keeps a message short enough for a status.
func clipped(text string) string {
	const most = 512
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..." // not within a character
}
