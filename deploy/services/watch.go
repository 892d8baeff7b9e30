package services

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// Between two attempts to reach an API server that is away.
const retryAfter = time.Second

// Sight is what is known of a fleet at some moment.
type Sight struct {
	// Fleet is the fleet; nil: there is none, or none any more.
	Fleet *v1alpha1.GridRouter
	// Away is why the API server cannot be asked at present; then Fleet is what was known last.
	Away error
}

// Watch calls seen with a fleet as it is, and then with each change of it, until seen says that it is done or
// returns an error, or ctx ends; then its cause is returned. seen is called at least every interval (0: on
// changes only), so that it can show how time goes by, and never twice at once. An API server that is away is
// asked again and again: seen is told and decides for how long. Rights that are missing end the watch.
func (f *Fleets) Watch(ctx context.Context, ref Ref, interval time.Duration, seen func(Sight) (done bool, err error)) error {
	w := &watcher{fleets: f, ref: ref, seen: seen}
	if interval > 0 {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		w.ticks = ticker.C
	}
	for {
		began := time.Now()
		done, err := w.once(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case done || err != nil && KindOf(err) != KindUnreachable:
			return err
		case err != nil:
			w.last.Away = err
		case time.Since(began) > retryAfter:
			continue // a watch that came to its usual end
		}
		if done, err := w.pause(ctx); done || err != nil {
			return err
		}
	}
}

// watcher is one call of Watch.
type watcher struct {
	fleets *Fleets
	ref    Ref
	seen   func(Sight) (bool, error)
	ticks  <-chan time.Time // nil: none
	last   Sight
}

// once reads the fleet and follows it until the API server ends that, as it does every few minutes.
func (w *watcher) once(ctx context.Context) (done bool, err error) {
	version, err := w.read(ctx)
	if err != nil {
		return false, err
	}
	if done, err := w.seen(w.last); done || err != nil {
		return true, err
	}
	// The watch is ended by whoever leaves this function.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.fleets.client.Watch(ctx, &v1alpha1.GridRouterList{}, client.InNamespace(w.ref.Namespace),
		client.MatchingFields{"metadata.name": w.ref.Name}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true}})
	if err != nil {
		return false, explain(err, "watch", Resource, w.ref.what())
	}
	defer stream.Stop()
	return w.follow(ctx, stream)
}

// read reads the fleet by a list, which has a resource version to watch from even where the fleet is gone.
func (w *watcher) read(ctx context.Context) (version string, err error) {
	ctx, cancel := w.fleets.call(ctx)
	defer cancel()
	list := &v1alpha1.GridRouterList{}
	err = w.fleets.client.List(ctx, list, client.InNamespace(w.ref.Namespace), client.MatchingFields{"metadata.name": w.ref.Name})
	if err != nil {
		return "", explain(err, "list", Resource, w.ref.what())
	}
	w.last = Sight{}
	if len(list.Items) > 0 {
		w.last.Fleet = named(&list.Items[0])
	}
	return list.ResourceVersion, nil
}

func (w *watcher) follow(ctx context.Context, stream watch.Interface) (done bool, err error) {
	for {
		select {
		case <-ctx.Done():
			return true, context.Cause(ctx)
		case <-w.ticks:
		case event, open := <-stream.ResultChan():
			if !open {
				return false, nil
			}
			news, err := w.take(event)
			if err != nil {
				return false, err
			}
			if !news {
				continue
			}
		}
		if done, err := w.seen(w.last); done || err != nil {
			return true, err
		}
	}
}

// take takes an event of the watch, and says whether it is about the fleet.
func (w *watcher) take(event watch.Event) (news bool, err error) {
	fleet, isFleet := event.Object.(*v1alpha1.GridRouter)
	switch {
	case event.Type == watch.Error:
		err := apierrors.FromObject(event.Object)
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return false, &Error{Kind: KindUnreachable, text: "the API server has forgotten where the watch was", err: err}
		}
		return false, explain(err, "watch", Resource, w.ref.what())
	case event.Type == watch.Bookmark || !isFleet:
		return false, nil
	case event.Type == watch.Deleted:
		w.last = Sight{}
		return true, nil
	}
	w.last = Sight{Fleet: named(fleet)}
	return true, nil
}

// pause waits a little, and tells that the API server is away.
func (w *watcher) pause(ctx context.Context) (done bool, err error) {
	if done, err := w.seen(w.last); done || err != nil {
		return true, err
	}
	timer := time.NewTimer(retryAfter)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return true, context.Cause(ctx)
	case <-timer.C:
		return false, nil
	}
}

// Await follows a change to its end: nil where it came to the one that was asked for, an [Error] of
// KindUnsuccessful where it did not, of KindTimeout where ctx reached its deadline before. Where ctx is
// cancelled, that is returned, wrapped. The change goes on in the cluster whatever becomes of the wait. tell,
// unless it is nil, gets the state about once a second and with each change; its lines repeat.
func (f *Fleets) Await(ctx context.Context, change *Change, tell func(Progress)) error {
	if change.DryRun {
		return nil
	}
	ref, last := RefOf(change.Fleet), change.goal.waiting("nothing was heard of it yet")
	err := f.Watch(ctx, ref, time.Second, func(sight Sight) (bool, error) {
		last = change.goal.judge(sight, time.Now())
		if tell != nil {
			tell(last)
		}
		if last.Failed {
			return true, &Error{Kind: KindUnsuccessful, text: last.Line}
		}
		return last.Done, nil
	})
	if errors.Is(err, context.DeadlineExceeded) && KindOf(err) == "" {
		return &Error{Kind: KindTimeout, text: "not at its end in time: " + last.Line + "; it goes on in the cluster", err: err}
	}
	return err
}

// sameObject says whether a fleet is the one that a change was about, and not another of its name.
func sameObject(fleet *v1alpha1.GridRouter, uid types.UID) bool {
	return uid == "" || fleet.UID == uid
}
