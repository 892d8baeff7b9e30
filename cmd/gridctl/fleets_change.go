//go:build !slim

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

// fleetChange are the flags of commands that change a fleet.
type fleetChange struct {
	waitFlags

	dryRun bool
	force  bool
}

func (c *fleetChange) register(fs *pflag.FlagSet, wait bool, timeout time.Duration) {
	c.waitFlags.register(fs, wait, timeout)
	fs.BoolVar(&c.dryRun, "dry-run", false, "have the API server check it, and write nothing")
	fs.BoolVar(&c.force, "force-conflicts", false, "write fields too that others keep by server-side apply")
}

func (c *fleetChange) options() []services.Option {
	var all []services.Option
	if c.dryRun {
		all = append(all, services.DryRun())
	}
	if c.force {
		all = append(all, services.ForceConflicts())
	}
	return all
}

// run makes a change of one fleet, reports it, and waits for its end.
func (c *fleetChange) run(k *kubernetes, cmd *cobra.Command, name string, write func(ctx context.Context, fleets *services.Fleets, ref services.Ref) (*services.Change, error)) error {
	if err := c.check(); err != nil {
		return err
	}
	return k.open(cmd, func(ctx context.Context, fleets *services.Fleets, namespace string) error {
		change, err := write(ctx, fleets, services.Ref{Namespace: namespace, Name: name})
		if err != nil {
			return err
		}
		return c.report(ctx, cmd, fleets, change)
	})
}

func newFleetsScaleCommand(k *kubernetes) *cobra.Command {
	var (
		change           fleetChange
		minimum, maximum int32
	)
	cmd := &cobra.Command{
		Use:   "scale NAME N | scale NAME [--min N] [--max N]",
		Short: "Set how many routers a fleet has",
		Long: `Sets the number of routers, or, of a fleet that follows its load (autoscaling), the bounds of that
number. Each is refused for the other sort of fleet: a number would end the autoscaling.
0 stops the fleet.`,
		Example: `  gridctl fleets scale edge 5 --wait
  gridctl fleets scale shop --min 4 --max 20`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			bounds := services.Bounds{}
			if cmd.Flags().Changed("min") {
				bounds.Min = &minimum
			}
			if cmd.Flags().Changed("max") {
				bounds.Max = &maximum
			}
			bounded := bounds.Min != nil || bounds.Max != nil
			if bounded == (len(args) == 2) {
				return flags.Usagef("say either how many routers the fleet is to have, or --min, --max or both")
			}
			if bounded {
				return change.run(k, cmd, args[0], func(ctx context.Context, fleets *services.Fleets, ref services.Ref) (*services.Change, error) {
					return fleets.ScaleBetween(ctx, ref, bounds, change.options()...)
				})
			}
			n, err := strconv.ParseInt(args[1], 10, 32)
			if err != nil || n < 0 {
				return flags.Usagef("%q is no number of routers; write one from 0 to 1000", args[1])
			}
			return change.run(k, cmd, args[0], func(ctx context.Context, fleets *services.Fleets, ref services.Ref) (*services.Change, error) {
				return fleets.Scale(ctx, ref, int32(n), change.options()...)
			})
		},
	}
	cmd.Flags().Int32Var(&minimum, "min", 0, "the least `N` of routers (default as it is)")
	cmd.Flags().Int32Var(&maximum, "max", 0, "the greatest `N` of routers (default as it is)")
	change.register(cmd.Flags(), false, 10*time.Minute)
	return cmd
}

func newFleetsUpgradeCommand(k *kubernetes) *cobra.Command {
	var change fleetChange
	cmd := &cobra.Command{
		Use:   "upgrade NAME VERSION",
		Short: "Bring a fleet to another version, and watch until it is there",
		Long: `Sets the version of a fleet, which may be an older one too, and waits until all routers run it. The
strategy of the fleet says how: router by router, or by canaries first, which are judged beside the
others. If they fail, the operator takes the version back; then, and if there is no progress for too
long, the reason is told and the exit status is 1.

A rollback that is in force ends: rollbackTo becomes 0. To stop waiting, interrupt it; the upgrade goes
on. To stop the upgrade, "gridctl fleets rollback" or "pause".`,
		Example: `  gridctl fleets upgrade edge 1.5.0
  gridctl fleets upgrade edge 1.5.0 --wait=false
  gridctl fleets upgrade edge 1.5.0 --dry-run`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return change.run(k, cmd, args[0], func(ctx context.Context, fleets *services.Fleets, ref services.Ref) (*services.Change, error) {
				return fleets.Upgrade(ctx, ref, args[1], change.options()...)
			})
		},
	}
	change.register(cmd.Flags(), true, time.Hour)
	return cmd
}

func newFleetsRollbackCommand(k *kubernetes) *cobra.Command {
	var (
		change fleetChange
		to     int64
	)
	cmd := &cobra.Command{
		Use:   "rollback NAME [--to N]",
		Short: "Have a fleet run an earlier revision, and watch until it does",
		Long: `Has a fleet run a revision of its history (rollbackTo); without --to the newest complete one before
that which the spec describes now. After a canary that failed, which the operator takes back itself,
that is the revision that runs.

While rollbackTo is set, routers run that revision whole: version, image, etcd, prefix, listeners, gslb,
resources, placement, drain and args in the spec do not apply. The number of routers, who may reach them
and how they are exposed do. "gridctl fleets upgrade" ends it.`,
		Example: `  gridctl fleets history edge
  gridctl fleets rollback edge
  gridctl fleets rollback edge --to 4`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("to") && to < 1 {
				return flags.Usagef("--to: %d is no revision; write one that gridctl fleets history lists", to)
			}
			return change.run(k, cmd, args[0], func(ctx context.Context, fleets *services.Fleets, ref services.Ref) (*services.Change, error) {
				fleet, err := fleets.Get(ctx, ref)
				if err != nil {
					return nil, err
				}
				chosen, err := services.PlanRollback(fleet, to)
				if err != nil {
					return nil, err
				}
				printTo(cmd.ErrOrStderr(), "%s: %s\n", ref.Name, chosen.What())
				return fleets.Rollback(ctx, ref, chosen.To.Revision, change.options()...)
			})
		},
	}
	cmd.Flags().Int64Var(&to, "to", 0, "the revision `N` of \"gridctl fleets history\" (default the newest complete one before the present)")
	change.register(cmd.Flags(), true, time.Hour)
	return cmd
}

func newFleetsPauseCommand(k *kubernetes) *cobra.Command {
	var change fleetChange
	cmd := &cobra.Command{
		Use:   "pause NAME",
		Short: "Have the operator change nothing of a fleet",
		Long: `Has the operator change nothing of a fleet, and only report (paused). Its routers go on serving, a
rollout stops where it is, and a router that dies is replaced by Kubernetes alone.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return change.run(k, cmd, args[0], func(ctx context.Context, fleets *services.Fleets, ref services.Ref) (*services.Change, error) {
				return fleets.Pause(ctx, ref, change.options()...)
			})
		},
	}
	change.register(cmd.Flags(), false, time.Minute)
	return cmd
}

func newFleetsResumeCommand(k *kubernetes) *cobra.Command {
	var change fleetChange
	cmd := &cobra.Command{
		Use:   "resume NAME",
		Short: "End a pause",
		Long:  `Ends a pause: the operator carries out what was changed meanwhile.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return change.run(k, cmd, args[0], func(ctx context.Context, fleets *services.Fleets, ref services.Ref) (*services.Change, error) {
				return fleets.Resume(ctx, ref, change.options()...)
			})
		},
	}
	change.register(cmd.Flags(), false, time.Minute)
	return cmd
}

func newFleetsDeleteCommand(k *kubernetes) *cobra.Command {
	var (
		wait   waitFlags
		dryRun bool
		yes    bool
	)
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a fleet with all its routers",
		Long: `Deletes a fleet, and waits until all that belongs to it is gone: routers, Service, the real servers
of its VIP. Documents in etcd stay. On a terminal it asks first; elsewhere it needs --yes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes && !dryRun && !isTerminal(cmd.InOrStdin()) {
				return flags.Usagef("--yes is missing: there is no terminal to ask on; nothing was deleted")
			}
			change := fleetChange{waitFlags: wait, dryRun: dryRun}
			return change.run(k, cmd, args[0], func(ctx context.Context, fleets *services.Fleets, ref services.Ref) (*services.Change, error) {
				if yes || dryRun {
					return fleets.Delete(ctx, ref, change.options()...)
				}
				fleet, err := fleets.Get(ctx, ref)
				if err != nil {
					return nil, err
				}
				if err := confirmDeletion(ctx, cmd, fleet); err != nil {
					return nil, err
				}
				return fleets.Delete(ctx, ref, services.IfUID(fleet.UID))
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	wait.register(cmd.Flags(), true, 10*time.Minute)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "have the API server check it, and delete nothing")
	return cmd
}

// confirmDeletion asks a person to type the fleet's name.
func confirmDeletion(ctx context.Context, cmd *cobra.Command, fleet *v1alpha1.GridRouter) error {
	vip := ""
	if fleet.Spec.Exposure.VIP != "" {
		vip = " behind VIP " + fleet.Spec.Exposure.VIP
	}
	printTo(cmd.ErrOrStderr(), "Delete fleet %s in namespace %s, with %s, %d ready%s? Type its name to go on: ",
		fleet.Name, fleet.Namespace, count(int(fleet.Status.Replicas), "router"), fleet.Status.Ready, vip)
	typed, err := readLine(ctx, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if typed != fleet.Name {
		return errors.New("that is not its name; nothing was deleted")
	}
	return nil
}

// readLine reads one line; the end of ctx, such as an interrupt, ends the wait for it. The goroutine that
// reads then ends with the process.
func readLine(ctx context.Context, input io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(input).ReadString('\n')
		answers <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("%w; nothing was deleted", errStoppedWaiting)
	case a := <-answers:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", a.err
		}
		return strings.TrimSpace(a.line), nil
	}
}
