package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/valyala/fasthttp"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
)

// newGuardCommand returns "gridctl guard".
func newGuardCommand(to *connection) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Show which routers and GSLB servers hold a mass change, and settle it",
		Long: `Routers do not follow every change: what leaves no tenant where there were two or more, or
drops more than 10 tenants and more than 5 % of them within ten seconds, or changes the rules or pins
of as many, is held. So are deletions of decks that as many are on. What is held keeps its
form, requests go on as before, and other changes are followed. GSLB servers hold deletions of names
by the same rule.

guard shows who holds something. If the change is meant, "gridctl guard accept" puts
it in force; if it is a mistake, "gridctl guard discard" puts the documents back as they were.
All tell of themselves every two seconds or so.`,
		Example: `  gridctl guard
  gridctl guard accept 81723 --why "globex and all its brands left us"
  gridctl guard discard 81723 --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				state, err := grid.GuardState(ctx)
				if err != nil {
					return err
				}
				if output == "json" {
					return writeJSON(cmd.OutOrStdout(), state)
				}
				return writeGuard(cmd.OutOrStdout(), state)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.AddCommand(newGuardAcceptCommand(to), newGuardDiscardCommand(to))
	return cmd
}

func writeGuard(out io.Writer, state catalog.GuardState) error {
	if state.Fault != "" {
		printTo(out, "the mark of what is accepted cannot be read, and counts for nothing: it %s\n", state.Fault)
	}
	if mark := state.Accepted; mark != nil {
		printTo(out, "mass changes are accepted up to revision %d (%s, %s%s)\n",
			mark.Revision, orElse(mark.By, "unknown"), mark.At.UTC().Format(time.RFC3339), trailingWhy(mark.Why))
	}
	if len(state.Holding) == 0 {
		_, err := fmt.Fprintf(out, "none of %s holds a mass change\n", holdersOf(state))
		return err
	}
	table := newTable(out)
	printTo(table, "%s\n", "WHO\tREVISION\tDOCUMENTS\tSINCE")
	for i := range state.Holding {
		held := state.Holding[i].Guard
		printTo(table, "%s\t%d\t%s\t%s\n", whoHolds(&state.Holding[i]), held.Revision, grouped(held.Held), held.Since.UTC().Format(time.RFC3339))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `%s hold a mass change; requests go on as before it
if it is meant:       gridctl guard accept %d
if it is a mistake:   gridctl guard discard %d --dry-run
`, holdingOf(state), state.Revision, state.Revision)
	return err
}

// holdersOf counts those who have a guard.
func holdersOf(state catalog.GuardState) string {
	if state.GslbServers == 0 {
		return count(state.Routers, "router")
	}
	return count(state.Routers, "router") + " and " + count(state.GslbServers, "GSLB server")
}

// holdingOf counts those who hold something.
func holdingOf(state catalog.GuardState) string {
	servers := 0
	for i := range state.Holding {
		if state.Holding[i].GslbServer {
			servers++
		}
	}
	text := fmt.Sprintf("%d of %s", len(state.Holding)-servers, count(state.Routers, "router"))
	if state.GslbServers > 0 {
		text += fmt.Sprintf(" and %d of %s", servers, count(state.GslbServers, "GSLB server"))
	}
	return text
}

func whoHolds(m *catalog.Member) string {
	if m.GslbServer {
		return "gslb " + m.ID
	}
	return m.ID
}

func trailingWhy(why string) string {
	if why == "" {
		return ""
	}
	return ": " + printable(why)
}

func newGuardAcceptCommand(to *connection) *cobra.Command {
	var why string
	var at adminAddress
	cmd := &cobra.Command{
		Use:   "accept REVISION",
		Short: "Let the routers and GSLB servers put into force what they hold",
		Long: `Says to all of them that the mass changes up to a revision, such as the one that "gridctl guard"
shows, are meant. They put them into force at once. What is written after it is held again if
it must be. An acceptance is not taken back: an older revision than the one that is accepted
changes nothing.

Routers that follow a folder are told one by one, with --router and the revision that their
/readyz says; GSLB servers likewise, with their --metrics address and the revision in their log.`,
		Example: `  gridctl guard accept 81723 --why "globex and all its brands left us"
  gridctl guard accept 7 --router 127.0.0.1:9901`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			revision, err := heldRevision(args[0])
			if err != nil {
				return err
			}
			if at.router != "" {
				if _, err := at.call(cmd.Context(), fasthttp.MethodPost, "guard/accept?revision="+args[0], to.timeout); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s has put into force what it held up to revision %d\n", at.router, revision)
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				mark, err := grid.GuardAccept(ctx, revision, why)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "mass changes are accepted up to revision %d\n", mark.Revision)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "`TEXT` that says why, for the mark (default none)")
	at.register(cmd.Flags(), "that holds it, if it follows a folder")
	return cmd
}

func newGuardDiscardCommand(to *connection) *cobra.Command {
	var change changeFlags
	cmd := &cobra.Command{
		Use:   "discard REVISION",
		Short: "Put the documents back as they were before what the routers hold",
		Long: `Writes the documents back as they were before a mass change that routers hold, up to the
revision that "gridctl guard" shows. The change is all that was written since the documents that
the routers compare it with, ten seconds before they began to hold it; if no router tells, what
was written at that one revision. Of it,

  - documents of any kind that are gone come back,
  - tenants with other rules get their earlier form back, and so do pins,
  - all else stays, and so does what was written after the revision.

What was there is read from etcd's own history, or, where etcd has compacted it, from the
change records (gridctl history). Nothing is rewound: the change is made anew, with records of
its own, in transactions as apply makes them; running it again finishes. A tenant that comes
back to just what it was keeps its epoch; any other gets one above all that it had. What cannot
be put back is listed, and stays held.`,
		Example: `  gridctl guard discard 81723 --dry-run
  gridctl guard discard 81723 --why "etcdctl del hit the wrong prefix"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := change.check(); err != nil {
				return err
			}
			revision, err := heldRevision(args[0])
			if err != nil {
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				plan, err := grid.PlanDiscard(ctx, revision, change.options())
				if err != nil {
					return err
				}
				return change.carryOut(ctx, cmd, grid, plan)
			})
		},
	}
	change.register(cmd)
	cmd.Flags().Lookup("why").Usage = "`TEXT` that says why, for the change records (default \"discard what the guard holds up to revision N\")"
	return cmd
}

// heldRevision reads the revision that a person gives.
func heldRevision(text string) (int64, error) {
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil || revision <= 0 {
		return 0, flags.Usagef("%q is no revision; write one that gridctl guard shows", text)
	}
	return revision, nil
}
