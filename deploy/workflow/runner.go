package workflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrConflict says that another writer was first; nothing was stored. Load again and go on.
	ErrConflict = errors.New("another writer was first")
	// ErrNotFound says that nothing is stored.
	ErrNotFound = errors.New("no such work is stored")
	// ErrRunning says that other work is stored that has not come to its end.
	ErrRunning = errors.New("other work is not at its end")
)

// Store keeps one value under a version, such as the status of a Kubernetes object under its
// resourceVersion, or a key of etcd under its revision.
type Store[T any] interface {
	// Load returns the value and its version, or an error that is [ErrNotFound].
	Load(ctx context.Context) (value T, version string, err error)
	// Save stores a value if the stored version is still the given one, and returns the new version.
	// The empty version means that nothing is stored. If it is another one, the error is
	// [ErrConflict]. After any other error the value may have been stored or not.
	Save(ctx context.Context, value T, version string) (string, error)
}

// Do carries out one action. The context is the stored one. It may be called twice for one step, also
// by two processes, and must then have the effect of one call; step.ID tells that it is the same.
type Do[C any] func(ctx context.Context, step Step, work C) error

// ActionError says that an action failed. It is tried again by the next call of the runner.
type ActionError struct {
	Step  Step
	Tries int
	Err   error
}

// Error names the step and how often it was tried.
func (e *ActionError) Error() string {
	return fmt.Sprintf("%s, try %d: %v", e.Step.ID, e.Tries, e.Err)
}

// Unwrap returns what the action said.
func (e *ActionError) Unwrap() error { return e.Err }

// Runner drives one piece of work. Every accepted event is stored together with its actions before the
// first of them is carried out, and each action is stored as done after it. A crash in between repeats
// at most the one action that was not stored as done.
//
// A runner holds nothing between two calls. Two of them may be used on one store: compare-and-set lets
// one of two writers win.
type Runner[S, E ~string, C any] struct {
	machine *Machine[S, E, C]
	store   Store[Stored[S, E, C]]
	do      map[Action]Do[C]
}

// NewRunner returns a runner. There must be something to carry out for each action of the machine, and
// for nothing else.
func NewRunner[S, E ~string, C any](m *Machine[S, E, C], store Store[Stored[S, E, C]], do map[Action]Do[C]) (*Runner[S, E, C], error) {
	for action := range m.actions {
		if do[action] == nil {
			return nil, fmt.Errorf("machine %s: nothing carries out action %q", m.Name(), action)
		}
	}
	for action := range do {
		if !m.actions[action] {
			return nil, fmt.Errorf("machine %s has no action %q", m.Name(), action)
		}
	}
	return &Runner[S, E, C]{machine: m, store: store, do: do}, nil
}

// loaded is a stored state with its version.
type loaded[S, E ~string, C any] struct {
	Stored[S, E, C]
	version string
}

// Start begins a piece of work and carries out its first actions. If work of this ID is stored already,
// that goes on. If other work is stored and is not at its end, the error is [ErrRunning].
func (r *Runner[S, E, C]) Start(ctx context.Context, id string, work C, by, why string, now time.Time) (Stored[S, E, C], error) {
	at, err := r.load(ctx)
	switch {
	case err == nil && at.ID != id && !r.final(at.State):
		return at.Stored, fmt.Errorf("start %s while %s is in state %q: %w", id, at.ID, at.State, ErrRunning)
	case err != nil && !errors.Is(err, ErrNotFound):
		return at.Stored, err
	case err != nil || at.ID != id:
		if err := r.save(ctx, at, r.machine.Start(id, work, by, why, now)); err != nil {
			return at.Stored, err
		}
	}
	err = r.carryOut(ctx, at, now)
	return at.Stored, err
}

// Fire fires an event and carries out what follows. Actions that are still pending are carried out
// first, unless the event drops them; if one fails, the event was not accepted and the error is an
// [*ActionError]. Sequence of the returned state has grown if and only if an event was accepted.
func (r *Runner[S, E, C]) Fire(ctx context.Context, event Event[E, C], now time.Time) (Stored[S, E, C], error) {
	at, err := r.load(ctx)
	if err != nil {
		return at.Stored, err
	}
	next, err := r.machine.Fire(at.Stored, event, now)
	if errors.Is(err, ErrPending) {
		if err := r.carryOut(ctx, at, now); err != nil {
			return at.Stored, err
		}
		next, err = r.machine.Fire(at.Stored, event, now)
	}
	if err == nil {
		err = r.save(ctx, at, next)
	}
	if err == nil {
		err = r.carryOut(ctx, at, now)
	}
	return at.Stored, err
}

// Resume goes on with what is stored: it carries out what is pending, and fires the time-out that is
// due. It is to be called after a restart, whenever [Machine.Deadline] is over, and after an
// [*ActionError].
func (r *Runner[S, E, C]) Resume(ctx context.Context, now time.Time) (Stored[S, E, C], error) {
	at, err := r.load(ctx)
	if err != nil {
		return at.Stored, err
	}
	failed := r.carryOut(ctx, at, now)
	var action *ActionError
	if failed != nil && !errors.As(failed, &action) {
		return at.Stored, failed
	}
	event, due, ok := r.machine.Deadline(at.Stored)
	if !ok || now.Before(due) {
		return at.Stored, failed
	}
	why := fmt.Sprintf("state %q has lasted since %s", at.State, at.Since.Format(time.RFC3339))
	if failed != nil {
		why += "; " + failed.Error()
	}
	next, err := r.machine.Fire(at.Stored, Event[E, C]{Name: event, By: byItself, Why: why}, now)
	if err == nil {
		err = r.save(ctx, at, next)
	}
	if err == nil {
		err = r.carryOut(ctx, at, now)
	}
	return at.Stored, err
}

// byItself is who fires time-outs and failures, in histories.
const byItself = "workflow"

func (r *Runner[S, E, C]) final(state S) bool {
	kind, known := r.machine.Is(state)
	return known && kind == Final
}

func (r *Runner[S, E, C]) load(ctx context.Context) (*loaded[S, E, C], error) {
	stored, version, err := r.store.Load(ctx)
	if err == nil {
		err = r.machine.Check(stored)
	}
	return &loaded[S, E, C]{stored, version}, err
}

// save stores what follows, and makes it the present if that worked.
func (r *Runner[S, E, C]) save(ctx context.Context, at *loaded[S, E, C], next Stored[S, E, C]) error {
	version, err := r.store.Save(ctx, next, at.version)
	if err != nil {
		return fmt.Errorf("store %s in state %q: %w", next.ID, next.State, err)
	}
	at.Stored, at.version = next, version
	return nil
}

// carryOut carries out the pending actions in their order, and stores each as done.
func (r *Runner[S, E, C]) carryOut(ctx context.Context, at *loaded[S, E, C], now time.Time) error {
	for len(at.Pending) > 0 {
		step := at.Pending[0]
		if err := r.do[step.Action](ctx, step, at.Context); err != nil {
			return r.failed(ctx, at, err, now)
		}
		next := at.Stored
		next.Pending, next.Tries, next.LastError = at.Pending[1:], 0, ""
		if err := r.save(ctx, at, next); err != nil {
			return err
		}
	}
	return nil
}

// failed counts a failure, and fires the state's failure event if that was the last try. What follows
// from that event is carried out by the next call of the runner.
func (r *Runner[S, E, C]) failed(ctx context.Context, at *loaded[S, E, C], failure error, now time.Time) error {
	if ctx.Err() != nil {
		return failure // it was cut short, which says nothing of the action
	}
	next := at.Stored
	next.Tries++
	next.LastError = shortened(failure)
	told := &ActionError{Step: at.Pending[0], Tries: next.Tries, Err: failure}
	if giveUp := r.machine.states[at.State].Failure; giveUp != nil && next.Tries >= giveUp.Tries {
		fired, err := r.machine.Fire(next, Event[E, C]{Name: giveUp.Event, By: byItself, Why: told.Error()}, now)
		if err != nil {
			return errors.Join(told, err)
		}
		next = fired
	}
	if err := r.save(ctx, at, next); err != nil {
		return errors.Join(told, err)
	}
	return told
}

// shortened returns at most the first 512 bytes of an error, which is what is stored of it.
func shortened(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), 512)], "")
}
