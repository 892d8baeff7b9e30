package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Parts describes all parts, running or not.
func (g *Grid) Parts() []Part {
	g.mu.Lock()
	defer g.mu.Unlock()
	parts := make([]Part, 0, len(g.specs))
	for _, s := range g.specs {
		parts = append(parts, g.describeRun(s, g.runs[s.name]))
	}
	return parts
}

// Address returns where a part listens (host:port); empty if there is no such part.
func (g *Grid) Address(part string) string {
	s, err := g.spec(part)
	if err != nil {
		return ""
	}
	return s.address
}

// PID returns the process of a part; 0 if none runs.
func (g *Grid) PID(part string) int {
	if p := g.run(part); p != nil && p.Running() {
		return p.PID()
	}
	return 0
}

// Data returns the folder with the grid's data.
func (g *Grid) Data() string { return g.data }

// Log returns the file that holds what a part wrote, over all of its runs.
func (g *Grid) Log(part string) string { return filepath.Join(g.data, "logs", part+".log") }

// logHint points to a part's log, if the log will be there to be read.
func (g *Grid) logHint(part string) string {
	if g.config.Data == "" {
		return ""
	}
	return " (log: " + g.Log(part) + ")"
}

// Kill ends a part as kill -9 does and returns when it is gone.
func (g *Grid) Kill(part string) error {
	p, err := g.running(part)
	if err != nil {
		return err
	}
	p.kill()
	return nil
}

// Terminate asks a part to end, as an operator would, and returns when it is gone. One
// that does not end in time is killed.
func (g *Grid) Terminate(part string) error {
	p, err := g.running(part)
	if err != nil {
		return err
	}
	p.stop(stopLimit, g.config.KillNow)
	return nil
}

// Signal sends a signal to a part.
func (g *Grid) Signal(part string, signal syscall.Signal) error {
	p, err := g.running(part)
	if err != nil {
		return err
	}
	return p.Signal(signal)
}

// Restart starts a part that ended and returns when it is ready.
func (g *Grid) Restart(ctx context.Context, part string) error {
	s, err := g.spec(part)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready within %s", startLimit))
	defer cancel()
	return g.startPart(limited, s)
}

// Revive starts every part that ended, in the order of a start, and returns their names.
func (g *Grid) Revive(ctx context.Context) ([]string, error) {
	var names []string
	for stage := range stages {
		group, together := errgroup.WithContext(ctx)
		for _, s := range g.specs {
			if s.stage == stage && g.PID(s.name) == 0 {
				names = append(names, s.name)
				group.Go(func() error { return g.Restart(together, s.name) })
			}
		}
		if err := group.Wait(); err != nil {
			return names, err
		}
	}
	return names, nil
}

// Stop ends all parts, in the reverse order of their start, and gives back the block.
// Each part has a few seconds to finish what it does; see KillNow in [Config].
func (g *Grid) Stop() error {
	for _, stage := range slices.Backward([]int{stageGround, stageNames, stageRouters, stageFront}) {
		var group errgroup.Group
		for _, s := range g.specs {
			if p := g.run(s.name); p != nil && s.stage == stage {
				group.Go(func() error {
					p.stop(stopLimit, g.config.KillNow)
					return nil
				})
			}
		}
		_ = group.Wait()
	}
	g.watch.Wait()
	return errors.Join(g.lock.Close(), g.removeData())
}

func (g *Grid) spec(part string) (spec, error) {
	for _, s := range g.specs {
		if s.name == part {
			return s, nil
		}
	}
	return spec{}, fmt.Errorf("the grid has no part %q", part)
}

func (g *Grid) run(part string) *process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.runs[part]
}

// running returns the process of a part that runs.
func (g *Grid) running(part string) (*process, error) {
	if _, err := g.spec(part); err != nil {
		return nil, err
	}
	p := g.run(part)
	if p == nil || !p.Running() {
		return nil, fmt.Errorf("%s does not run", part)
	}
	return p, nil
}

func (g *Grid) describe(s spec) Part { return g.describeRun(s, g.run(s.name)) }

func (g *Grid) describeRun(s spec, p *process) Part {
	part := Part{Name: s.name, What: s.what, Address: s.address}
	if p != nil && p.Running() {
		part.PID = p.PID()
	}
	return part
}
