package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/discovery/catalog"
)

// newFleetCommand returns "gridctl fleet".
func newFleetCommand(to *connection) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Show the routers that etcd knows, and which revision each runs",
		Long: `Prints every router that announces itself in etcd. A router that runs an older revision than
the newest document is marked "behind"; one whose documents differ from those of the others at
the same revision is marked "other hash"; one that has other forms of the same documents in force
than most "other forms in force" (what is in force depends on the past where a document is bad,
or its epoch is lower than one that was seen: two decks may serve one tenant); one whose guard holds a mass change "holds N documents"
("gridctl guard" says what to do). One that died is gone when its lease ends. GSLB servers that follow
etcd are shown below, with the revision of the Gslb documents that they answer from; they are marked alike.

"gridctl fleets", with s, is another group of commands: it creates, scales and upgrades fleets of routers
in Kubernetes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				fleet, err := grid.Fleet(ctx)
				if err != nil {
					return err
				}
				if output == "json" {
					return writeJSON(cmd.OutOrStdout(), fleet)
				}
				return writeFleet(cmd.OutOrStdout(), fleet, time.Now())
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func writeFleet(out io.Writer, fleet catalog.Fleet, now time.Time) error {
	if err := writeRouters(out, fleet, now); err != nil || len(fleet.GslbServers) == 0 {
		return err
	}
	printTo(out, "\n")
	table := newTable(out)
	printTo(table, "%s\n", "GSLB SERVER\tADDRESS\tVERSION\tREVISION\tHASH\tSOURCE\tAGE\tPROBLEMS\tUP\tNOTE")
	for i := range fleet.GslbServers {
		m := &fleet.GslbServers[i]
		printTo(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%d\t%s\t%s\n", m.ID, orElse(m.Address, "-"), orElse(m.Version, "-"),
			m.Revision, orElse(shortHash(m), "-"), orElse(m.Source, "-"), ageOf(m), m.Problems, upOf(m, now), noteOf(m))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s, newest revision %d, %s\n", count(len(fleet.GslbServers), "GSLB server"), fleet.GslbRevision, verdictOn(fleet.GslbServers, "its log"))
	return err
}

// shortHash is enough of a hash to tell it from another.
func shortHash(m *catalog.Member) string { return m.Hash[:min(len(m.Hash), 12)] }

func writeRouters(out io.Writer, fleet catalog.Fleet, now time.Time) error {
	if len(fleet.Members) == 0 {
		_, err := fmt.Fprintln(out, "no router announces itself under this prefix")
		return err
	}
	table := newTable(out)
	printTo(table, "%s\n", "ROUTER\tADDRESS\tADMIN\tVERSION\tREVISION\tHASH\tSOURCE\tAGE\tPROBLEMS\tUP\tNOTE")
	for i := range fleet.Members {
		m := &fleet.Members[i]
		printTo(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%d\t%s\t%s\n", m.ID, orElse(m.Address, "-"), orElse(m.Admin, "-"), orElse(m.Version, "-"),
			m.Revision, orElse(shortHash(m), "-"), orElse(m.Source, "-"), ageOf(m), m.Problems, upOf(m, now), noteOf(m))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s, newest revision %d, %s\n", count(len(fleet.Members), "router"), fleet.Revision, verdictOn(fleet.Members, "/problems of a router"))
	return err
}

// verdictOn says in some words how members stand to each other. where is where problems are told.
func verdictOn(members []catalog.Member, where string) string {
	marked, problems := 0, 0
	for i := range members {
		if noteOf(&members[i]) != "-" {
			marked++
		}
		problems = max(problems, members[i].Problems)
	}
	verdict := "all agree"
	if marked > 0 {
		verdict = strconv.Itoa(marked) + " of them marked"
	}
	if problems > 0 {
		verdict += fmt.Sprintf("; %s: see %s", count(problems, "problem"), where)
	}
	return verdict
}

// noteOf is what a person should look at.
func noteOf(m *catalog.Member) string {
	var notes []string
	if m.Behind {
		notes = append(notes, "behind")
	}
	if m.Disagrees {
		notes = append(notes, "other hash")
	}
	if m.OtherForms {
		notes = append(notes, "other forms in force")
	}
	if m.Guard != nil {
		notes = append(notes, fmt.Sprintf("holds %s", count(m.Guard.Held, "document")))
	}
	if m.Fault != "" {
		notes = append(notes, m.Fault)
	}
	if len(notes) == 0 {
		return "-"
	}
	return strings.Join(notes, ", ")
}

// ageOf is how long ago the router last knew that it was up to date.
func ageOf(m *catalog.Member) string {
	return (time.Duration(m.AgeSeconds * float64(time.Second))).Round(100 * time.Millisecond).String()
}

func upOf(m *catalog.Member, now time.Time) string {
	if m.Started.IsZero() {
		return "-"
	}
	return max(now.Sub(m.Started), 0).Round(time.Second).String()
}
