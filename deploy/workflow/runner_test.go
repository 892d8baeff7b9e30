package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/workflow"
)

// memory is a store that keeps JSON, as a real one does.
type memory[S, E ~string, C any] struct {
	machine *workflow.Machine[S, E, C]
	text    []byte
	version int
	// before is called before each write; its error is returned in place of writing. After is called
	// after each write; its error is returned although it was written.
	before, after func() error
}

func (s *memory[S, E, C]) Load(context.Context) (workflow.Stored[S, E, C], string, error) {
	if s.text == nil {
		return workflow.Stored[S, E, C]{}, "", workflow.ErrNotFound
	}
	at, err := s.machine.Decode(s.text)
	return at, strconv.Itoa(s.version), err
}

func (s *memory[S, E, C]) Save(_ context.Context, at workflow.Stored[S, E, C], version string) (string, error) {
	if s.before != nil {
		if err := s.before(); err != nil {
			return "", err
		}
	}
	if present := strconv.Itoa(s.version); s.text != nil && version != present || s.text == nil && version != "" {
		return "", fmt.Errorf("it is at %s: %w", present, workflow.ErrConflict)
	}
	text, err := s.machine.Encode(at)
	if err != nil {
		return "", err
	}
	s.text = text
	s.version++
	if s.after != nil {
		if err := s.after(); err != nil {
			return "", err
		}
	}
	return strconv.Itoa(s.version), nil
}

// carrier writes down what is carried out, and fails where it is told to.
type carrier struct {
	did   []string
	fails map[workflow.Action]error
}

func (c *carrier) all(list ...workflow.Action) map[workflow.Action]workflow.Do[backup] {
	do := map[workflow.Action]workflow.Do[backup]{}
	for _, action := range list {
		do[action] = func(_ context.Context, step workflow.Step, _ backup) error {
			c.did = append(c.did, step.ID)
			return c.fails[action]
		}
	}
	return do
}

var sampleActions = []workflow.Action{"copy", "close", "count", "note", "hash", "remove", "announce"}

func runner(t *testing.T) (*workflow.Runner[state, event, backup], *memory[state, event, backup], *carrier) {
	t.Helper()
	store := &memory[state, event, backup]{machine: machine(t)}
	c := &carrier{fails: map[workflow.Action]error{}}
	r, err := workflow.NewRunner(store.machine, store, c.all(sampleActions...))
	if err != nil {
		t.Fatal(err)
	}
	return r, store, c
}

func TestARunnerStoresAnEventBeforeItsActionsAndEachActionAfterIt(t *testing.T) {
	r, store, c := runner(t)
	var pending []string
	store.before = func() error {
		at, _, err := store.Load(t.Context())
		pending = append(pending, fmt.Sprintf("%d done, %d pending", len(c.did), len(at.Pending)))
		if errors.Is(err, workflow.ErrNotFound) {
			return nil
		}
		return err
	}
	if _, err := r.Start(t.Context(), "b1", backup{Parts: 1}, "", "", noon); err != nil {
		t.Fatal(err)
	}
	at, err := r.Fire(t.Context(), happened{Name: "copied"}, noon)
	if err != nil || at.State != "checking" || len(at.Pending) != 0 {
		t.Fatalf("%+v, %v", at, err)
	}
	if want := []string{"b1/1.1/copy", "b1/2.1/close", "b1/2.2/count", "b1/2.3/hash"}; !slices.Equal(c.did, want) {
		t.Errorf("carried out: %v", c.did)
	}
	if want := []string{
		"0 done, 0 pending", "1 done, 1 pending", "1 done, 0 pending", "2 done, 3 pending", "3 done, 2 pending", "4 done, 1 pending",
	}; !slices.Equal(pending, want) {
		t.Errorf("what was there before each write: %q", pending)
	}
}

func TestStartGoesOnWithTheSameWorkAndRefusesOther(t *testing.T) {
	r, _, c := runner(t)
	c.fails["copy"] = errors.New("disk full")
	var failed *workflow.ActionError
	if at, err := r.Start(t.Context(), "b1", backup{}, "", "", noon); !errors.As(err, &failed) || failed.Tries != 1 || at.Sequence != 1 {
		t.Fatal(err)
	}
	if _, err := r.Start(t.Context(), "b2", backup{}, "", "", noon); !errors.Is(err, workflow.ErrRunning) {
		t.Error(err)
	}
	c.fails["copy"] = nil
	if at, err := r.Start(t.Context(), "b1", backup{}, "", "", noon.Add(time.Hour)); err != nil || !at.Started.Equal(noon) || len(at.Pending) > 0 {
		t.Errorf("%+v, %v", at, err)
	}
	if _, err := r.Fire(t.Context(), happened{Name: "cancel"}, noon); err != nil {
		t.Fatal(err)
	}
	if at, err := r.Start(t.Context(), "b2", backup{}, "", "", noon); err != nil || at.ID != "b2" || at.State != "copying" {
		t.Errorf("after the end of the other: %+v, %v", at, err)
	}
}

func TestAnActionThatFailsIsGivenUpAfterItsTries(t *testing.T) {
	r, _, c := runner(t)
	c.fails["copy"] = errors.New("disk full")
	_, err := r.Start(t.Context(), "b1", backup{}, "", "", noon)
	for try := 2; try <= 3; try++ {
		var failed *workflow.ActionError
		if !errors.As(err, &failed) || failed.Tries != try-1 || !errors.Is(err, c.fails["copy"]) || !strings.Contains(err.Error(), "b1/1.1/copy, try") {
			t.Fatal(err)
		}
		_, err = r.Resume(t.Context(), noon)
	}
	at, err := r.Resume(t.Context(), noon)
	if err != nil || at.State != "dropped" || at.Tries != 0 || at.LastError != "" {
		t.Fatalf("%+v, %v", at, err)
	}
	last := at.History[len(at.History)-1]
	if last.Event != "broken" || last.By != "workflow" || !strings.Contains(last.Why, "disk full") || !slices.Equal(last.Abandoned, []string{"b1/1.1/copy"}) {
		t.Errorf("the history says %+v", last)
	}
}

func TestAStateWithoutFailureEventTriesForEver(t *testing.T) {
	r, _, c := runner(t)
	if _, err := r.Start(t.Context(), "b1", backup{Parts: 1}, "", "", noon); err != nil {
		t.Fatal(err)
	}
	c.fails["hash"] = errors.New(strings.Repeat("ö", 1000))
	at, err := r.Fire(t.Context(), happened{Name: "copied"}, noon)
	for range 20 {
		if err == nil {
			t.Fatal("it did not fail")
		}
		at, err = r.Resume(t.Context(), noon)
	}
	if at.State != "checking" || at.Tries != 21 || len(at.LastError) != 512 {
		t.Errorf("%+v", at)
	}
	if _, err := r.Fire(t.Context(), happened{Name: "again"}, noon); err == nil {
		t.Error("an event passed actions that fail")
	}
	c.fails["hash"] = nil
	if at, err = r.Fire(t.Context(), happened{Name: "again"}, noon); err != nil || at.Tries != 0 || at.LastError != "" {
		t.Errorf("%+v, %v", at, err)
	}
}

func TestATimeoutFiresWhenItIsDueAndNotBefore(t *testing.T) {
	r, _, c := runner(t)
	if _, err := r.Start(t.Context(), "b1", backup{Limit: time.Hour}, "", "", noon); err != nil {
		t.Fatal(err)
	}
	if at, err := r.Resume(t.Context(), noon.Add(time.Hour-1)); err != nil || at.State != "copying" {
		t.Fatalf("%+v, %v", at, err)
	}
	at, err := r.Resume(t.Context(), noon.Add(time.Hour))
	if err != nil || at.State != "dropped" || !strings.HasSuffix(c.did[len(c.did)-1], "remove") {
		t.Fatalf("%+v, %v", at, err)
	}
	if last := at.History[len(at.History)-1]; last.Event != "late" || last.By != "workflow" || !strings.Contains(last.Why, `"copying" has lasted since 2030-01-02T12:00:00Z`) {
		t.Errorf("the history says %+v", last)
	}
}

func TestATimeoutEndsWhatFails(t *testing.T) {
	r, _, c := runner(t)
	c.fails["copy"] = errors.New("disk full")
	if _, err := r.Start(t.Context(), "b1", backup{Limit: time.Hour}, "", "", noon); err == nil {
		t.Fatal("it did not fail")
	}
	at, err := r.Resume(t.Context(), noon.Add(time.Hour))
	if err != nil || at.State != "dropped" || !strings.Contains(at.History[len(at.History)-1].Why, "disk full") {
		t.Fatalf("%+v, %v", at, err)
	}
}

func TestOneOfTwoWritersWins(t *testing.T) {
	r, store, c := runner(t)
	if _, err := r.Start(t.Context(), "b1", backup{Parts: 1}, "", "", noon); err != nil {
		t.Fatal(err)
	}
	other, err := workflow.NewRunner(store.machine, store, c.all(sampleActions...))
	if err != nil {
		t.Fatal(err)
	}
	store.before = func() error {
		store.before = nil
		_, err := other.Fire(t.Context(), happened{Name: "cancel"}, noon)
		return err
	}
	before := len(c.did)
	if _, err := r.Fire(t.Context(), happened{Name: "copied"}, noon); !errors.Is(err, workflow.ErrConflict) {
		t.Error(err)
	}
	if done := c.did[before:]; !slices.Equal(done, []string{"b1/2.1/close", "b1/2.2/remove"}) {
		t.Errorf("carried out: %v", done)
	}
}

func TestACallThatIsCutShortCountsAsNoTry(t *testing.T) {
	r, store, c := runner(t)
	ctx, cancel := context.WithCancel(t.Context())
	do := c.all(sampleActions...)
	do["copy"] = func(ctx context.Context, _ workflow.Step, _ backup) error { cancel(); return ctx.Err() }
	cut, err := workflow.NewRunner(store.machine, store, do)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cut.Start(ctx, "b1", backup{}, "", "", noon); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if at, _, _ := store.Load(t.Context()); at.Tries != 0 || len(at.Pending) != 1 {
		t.Errorf("%+v", at)
	}
	if at, err := r.Resume(t.Context(), noon); err != nil || len(at.Pending) != 0 {
		t.Errorf("%+v, %v", at, err)
	}
}

func TestARunnerNeedsExactlyTheActionsOfItsMachine(t *testing.T) {
	_, store, c := runner(t)
	if _, err := workflow.NewRunner(store.machine, store, c.all(sampleActions[1:]...)); err == nil || !strings.Contains(err.Error(), `nothing carries out action "copy"`) {
		t.Error(err)
	}
	if _, err := workflow.NewRunner(store.machine, store, c.all(append(slices.Clone(sampleActions), "dance")...)); err == nil || !strings.Contains(err.Error(), `no action "dance"`) {
		t.Error(err)
	}
}

func TestWhatIsNotStoredIsNotFound(t *testing.T) {
	r, _, _ := runner(t)
	if _, err := r.Resume(t.Context(), noon); !errors.Is(err, workflow.ErrNotFound) {
		t.Error(err)
	}
	if _, err := r.Fire(t.Context(), happened{Name: "cancel"}, noon); !errors.Is(err, workflow.ErrNotFound) {
		t.Error(err)
	}
}
