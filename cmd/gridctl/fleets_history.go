//go:build !slim

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

func newFleetsHistoryCommand(k *kubernetes) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "Show the revisions of a fleet, and what became of each",
		Long: `Lists the revisions of a fleet that can be gone back to, the newest first: each change of what routers
are made from (version, image, flags, listeners, resources ...) makes one. "gridctl fleets rollback --to"
takes their numbers. The one that the spec has is marked by *.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "json", "yaml"); err != nil {
				return err
			}
			return k.open(cmd, func(ctx context.Context, fleets *services.Fleets, namespace string) error {
				fleet, err := fleets.Get(ctx, services.Ref{Namespace: namespace, Name: args[0]})
				if err != nil {
					return err
				}
				revisions, current := services.Revisions(fleet)
				if output != "table" {
					return writeForm(cmd.OutOrStdout(), revisions, output)
				}
				return writeRevisions(cmd.OutOrStdout(), revisions, current)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return cmd
}

func writeRevisions(out io.Writer, revisions []v1alpha1.Revision, current int64) error {
	if len(revisions) == 0 {
		_, err := fmt.Fprintln(out, "no revision yet: no operator has deployed this fleet")
		return err
	}
	table := newTable(out)
	printTo(table, "%s\n", "REVISION\tVERSION\tOUTCOME\tSINCE\tIMAGE\tWHY")
	for i := range revisions {
		r := &revisions[i]
		mark, since := "", "-"
		if r.Revision == current {
			mark = "*"
		}
		if r.Since != nil {
			since = r.Since.UTC().Format(time.RFC3339)
		}
		printTo(table, "%d%s\t%s\t%s\t%s\t%s\t%s\n", r.Revision, mark, orElse(r.Version, "-"), orElse(r.Outcome, "-"), since, orElse(r.Image, "-"), orElse(onOneLine(r.Why), "-"))
	}
	return table.Flush()
}

func newFleetsEventsCommand(k *kubernetes) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "events NAME",
		Short: "Show what the operator told of a fleet",
		Long: `Lists the events of a fleet, the newest last. Kubernetes keeps them for an hour or so; "gridctl fleets
history" has what became of each revision.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "json", "yaml"); err != nil {
				return err
			}
			return k.open(cmd, func(ctx context.Context, fleets *services.Fleets, namespace string) error {
				ref := services.Ref{Namespace: namespace, Name: args[0]}
				events, err := fleets.Events(ctx, ref)
				if err == nil && len(events) == 0 {
					_, err = fleets.Get(ctx, ref) // a fleet that was deleted may have events; one with none must exist
				}
				if err != nil {
					return err
				}
				if output != "table" {
					return writeForm(cmd.OutOrStdout(), events, output)
				}
				return writeEvents(cmd.OutOrStdout(), events, args[0])
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return cmd
}

func writeEvents(out io.Writer, events []services.Event, name string) error {
	if len(events) == 0 {
		_, err := fmt.Fprintf(out, "no events of fleet %s are kept\n", name)
		return err
	}
	table := newTable(out)
	printTo(table, "%s\n", "LAST\tCOUNT\tTYPE\tREASON\tNOTE")
	for i := range events {
		e := &events[i]
		printTo(table, "%s\t%d\t%s\t%s\t%s\n", e.Last.UTC().Format(time.RFC3339), e.Count, e.Type, e.Reason, onOneLine(e.Note))
	}
	return table.Flush()
}
