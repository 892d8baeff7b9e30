package etcd

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/pki"
	"gridrouter.io/deploy/operator/etcd/render"
)

// certificates are those of a cluster, as they are to be.
type certificates struct {
	// plan says what Secrets are to hold, and who must be restarted.
	plan pki.Plan
	// asked says what it was made for: another question, another plan.
	asked string
	// until is when it is made anew.
	until time.Time
	// dial is how the operator reaches members, and secret names that.
	dial   *tls.Config
	secret string
}

// certificatesLast is how long a plan of certificates is gone by without a look at the Secrets.
const certificatesLast = time.Minute

// clientsLag is how long clients may take to read what was written to their Secret: kubelets bring it to files in
// one to two minutes.
const clientsLag = 3 * time.Minute

// annotationWritten, on a Secret, is when the operator wrote it.
const annotationWritten = "gridrouter.io/etcd-written"

// trust keeps the plans of certificates of all clusters.
type trust struct {
	mu    sync.Mutex
	plans map[string]*certificates
}

func (t *trust) get(id string) *certificates {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.plans[id]
}

func (t *trust) set(id string, c *certificates) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.plans == nil {
		t.plans = map[string]*certificates{}
	}
	if t.plans[id] = c; c == nil {
		delete(t.plans, id)
	}
}

// wantedCertificates says who is to have certificates.
func wantedCertificates(c *v1alpha1.EtcdCluster, members []*member) pki.Wanted {
	w := pki.Wanted{
		Cluster: c.Name, Namespace: c.Namespace, Users: []string{render.ClientUser},
		RotateBefore: durationOf(c.Spec.TLS.RotateBefore, pki.DefaultRotateBefore),
	}
	if at := c.Spec.TLS.RenewCA; at != nil {
		w.RenewCA = at.Time
	}
	for _, m := range members {
		w.Members = append(w.Members, m.o.Name)
	}
	return w
}

// keepCertificates makes the plan of certificates, and writes the first Secret that is not as it should be.
func (r *Reconciler) keepCertificates(ctx context.Context, w *world, d *done) error {
	if w.c.Spec.TLS.Mode == v1alpha1.EtcdTLSOff {
		return nil
	}
	id, wanted, processes := idOf(w.c), wantedCertificates(w.c, w.members), w.processes()
	asked := fmt.Sprint(wanted, processes)
	if kept := r.trust.get(id); kept != nil && kept.asked == asked && w.now.Before(kept.until) {
		w.certificates = kept
		return nil
	}
	var secrets corev1.SecretList
	if err := r.options.Live.List(ctx, &secrets, client.InNamespace(w.c.Namespace), client.MatchingLabels{render.LabelCluster: w.c.Name}); err != nil {
		return fmt.Errorf("list Secrets: %w", err)
	}
	has, ours := map[string]pki.Data{}, map[string]*corev1.Secret{}
	for i := range secrets.Items {
		if s := &secrets.Items[i]; metav1.IsControlledBy(s, w.c) {
			ours[s.Name] = s
		}
	}
	if err := r.findUnlabelled(ctx, w, &wanted, ours); err != nil {
		return err
	}
	for name, s := range ours {
		if has[name] = s.Data; s.Labels[render.LabelCluster] != w.c.Name && !w.c.Spec.Paused {
			d.changed = true
			return r.writeSecret(ctx, w, pki.Write{Secret: name, Why: "its label was removed"}, s.Data, s)
		}
	}
	for _, user := range []string{pki.Root, render.ClientUser} {
		processes = append(processes, clientProcess(w.now, user, ours[wanted.UserSecret(user)]))
	}
	plan, err := pki.Desired(w.now, rand.Reader, has, processes, wanted)
	if err != nil {
		return err
	}
	kept := &certificates{plan: plan, asked: asked, until: w.now.Add(certificatesLast)}
	if plan.Next.Before(kept.until) {
		kept.until = plan.Next
	}
	kept.dial, kept.secret = dialBy(has[wanted.UserSecret(pki.Root)], wanted.ClientHost())
	w.certificates = kept
	if w.c.Spec.Paused {
		return nil
	}
	if len(plan.Writes) > 0 {
		d.changed = true
		return r.writeSecret(ctx, w, plan.Writes[0], plan.Secrets[plan.Writes[0].Secret], ours[plan.Writes[0].Secret])
	}
	for name, s := range ours {
		if _, wanted := plan.Secrets[name]; !wanted && strings.HasPrefix(name, w.c.Name+".") {
			d.changed = true
			return client.IgnoreNotFound(r.options.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID}))
		}
	}
	if plan.Waiting != "" {
		r.options.Members.Redial(id) // which shows what members present now
	}
	r.trust.set(id, kept)
	return nil
}

// findUnlabelled adds the Secrets of the cluster whose label somebody has removed: they would be taken for lost.
func (r *Reconciler) findUnlabelled(ctx context.Context, w *world, wanted *pki.Wanted, ours map[string]*corev1.Secret) error {
	names := []string{wanted.CASecret(), wanted.UserSecret(pki.Root), wanted.UserSecret(render.ClientUser)}
	for _, m := range w.members {
		names = append(names, wanted.MemberSecret(m.o.Name))
	}
	for _, name := range names {
		if ours[name] != nil {
			continue
		}
		s := &corev1.Secret{}
		err := r.options.Live.Get(ctx, client.ObjectKey{Namespace: w.c.Namespace, Name: name}, s)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return fmt.Errorf("read Secret %s: %w", name, err)
		case err == nil && metav1.IsControlledBy(s, w.c):
			ours[name] = s
		}
	}
	return nil
}

// processes are the members that run with certificates.
func (w *world) processes() []pki.Process {
	wanted := wantedCertificates(w.c, nil)
	var all []pki.Process
	for _, m := range w.members {
		if m.pod != nil {
			all = append(all, pki.Process{Name: m.o.Name, Secret: wanted.MemberSecret(m.o.Name), Bundle: m.pod.Annotations[render.AnnotationTrust], Issuer: m.seen.Issuer})
		}
	}
	return all
}

// clientProcess is whoever uses the Secret of a user: what was written to it, once it had the time to get there.
func clientProcess(now time.Time, user string, s *corev1.Secret) pki.Process {
	p := pki.Process{Name: "clients with the certificate of " + user}
	if s == nil {
		return p
	}
	p.Secret = s.Name
	at, err := time.Parse(time.RFC3339, s.Annotations[annotationWritten])
	if user == pki.Root || err != nil || now.Sub(at) >= clientsLag || now.Before(at) { // the operator reads its own at once
		p.Bundle, p.Issuer = pki.IDs(s.Data)
	}
	return p
}

// dialBy returns how the operator reaches members; nil: it has no certificate yet.
func dialBy(data pki.Data, host string) (*tls.Config, string) {
	pair, err := tls.X509KeyPair(data[pki.CertKey], data[pki.PrivateKey])
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(data[pki.TrustKey]) {
		return nil, ""
	}
	sum := sha256.New()
	for _, key := range []string{pki.CertKey, pki.TrustKey} {
		sum.Write(data[key])
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: host}, fmt.Sprintf("%x", sum.Sum(nil)[:8])
}

// writeSecret writes a Secret whole, unless it changed since it was read.
func (r *Reconciler) writeSecret(ctx context.Context, w *world, write pki.Write, data pki.Data, there *corev1.Secret) error {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.c.Namespace, Name: write.Secret}, Type: corev1.SecretTypeOpaque}
	if there != nil {
		s = there.DeepCopy()
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	for key, value := range render.LabelsOf(w.c.Name) {
		s.Labels[key] = value
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[annotationWritten] = w.now.UTC().Format(time.RFC3339)
	s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(w.c, v1alpha1.SchemeGroupVersion.WithKind("EtcdCluster"))}
	s.Data = data
	var err error
	if there == nil {
		err = r.options.Client.Create(ctx, s, client.FieldOwner(render.FieldOwner))
	} else {
		err = r.options.Client.Update(ctx, s, client.FieldOwner(render.FieldOwner))
	}
	switch {
	case apierrors.IsAlreadyExists(err):
		return fmt.Errorf("the Secret %s belongs to somebody else: remove it, or rename the cluster", write.Secret)
	case err != nil:
		return fmt.Errorf("write Secret %s: %w", write.Secret, err)
	}
	r.options.Events.Eventf(w.c, nil, corev1.EventTypeNormal, "WriteCertificates", "WriteCertificates", "writes Secret %s: %s", write.Secret, clipped(write.Why))
	return nil
}

// mustRestart says whether a member trusts other CAs than it is to, which etcd reads when it starts.
func (w *world) mustRestart(m *member) bool {
	return w.certificates != nil && m.pod != nil && slices.ContainsFunc(w.certificates.plan.NeedsRestart(), func(p pki.Process) bool { return p.Name == m.o.Name })
}
