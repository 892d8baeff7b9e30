package etcd

import (
	"context"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/operator/etcd/render"
)

// keepsFor says for how long the volume of a member that was removed is still kept; false: it was not removed.
func (w *world) keepsFor(claim *corev1.PersistentVolumeClaim) (time.Duration, bool) {
	at, err := time.Parse(time.RFC3339, claim.Annotations[render.AnnotationRemoved])
	if err != nil || w.named(claim.Name) != nil {
		return 0, false
	}
	return durationOf(w.c.Spec.Storage.KeepRemoved, time.Hour) - w.now.Sub(at), true
}

// sweep marks the volumes of members that are gone, and removes them when their time is over. While no majority answers,
// nobody knows what the data is still needed for.
func (r *Reconciler) sweep(ctx context.Context, w *world, d *done) error {
	for i := range w.claims {
		claim := &w.claims[i]
		left, removed := w.keepsFor(claim)
		there := w.named(claim.Name) != nil
		switch {
		case claim.DeletionTimestamp != nil:
			continue
		case there && claim.Annotations[render.AnnotationRemoved] == "" || !there && removed && (left > 0 || !w.report.Known):
			continue
		case there: // the next removal must not take its time from that
			d.changed = true
			return r.markRemoved(ctx, claim, "null")
		}
		if gone, err := r.isGone(ctx, claim); err != nil || !gone {
			return err // the cache is behind
		}
		d.changed = true
		if !removed {
			return r.markRemoved(ctx, claim, strconv.Quote(w.now.UTC().Format(time.RFC3339)))
		}
		uid, version := claim.UID, claim.ResourceVersion
		return client.IgnoreNotFound(r.options.Client.Delete(ctx, claim, client.Preconditions{UID: &uid, ResourceVersion: &version}))
	}
	return nil
}
