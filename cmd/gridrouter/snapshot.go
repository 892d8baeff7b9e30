package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/routing/compile"
)

// newSnapshotCommand returns "gridrouter snapshot".
func newSnapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Look into the local snapshot of a router or GSLB server",
	}
	cmd.AddCommand(newSnapshotInspectCommand())
	return cmd
}

func newSnapshotInspectCommand() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say what a snapshot holds, and whether it is whole",
		Long: `inspect reads a snapshot as serve or gslb would at its start, checks every byte of it, and says of which
documents it is. It changes nothing. The exit status is 0 if one can start from it, else 1.

The snapshot before the newest is beside it, as FILE.1.`,
		Example: `  gridrouter snapshot inspect /var/lib/gridrouter/edge-1:8080.snap
  gridrouter snapshot inspect -o json /var/lib/gridrouter/edge-1:8080.snap.1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return flags.Usagef("-o: %q is no form of output; write text or json", output)
			}
			return inspectSnapshot(cmd.OutOrStdout(), args[0], output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", output, "form of the output: `text|json`")
	return cmd
}

// inspected is what inspect says of a snapshot.
type inspected struct {
	File string `json:"file"`
	discovery.SnapshotHeader
	Sections []inspectedSection `json:"sections"`
	Error    string             `json:"error,omitempty"`
}

type inspectedSection struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

func inspectSnapshot(out io.Writer, file, output string) error {
	header, sections, err := discovery.ReadSnapshot(file)
	if err != nil && !errors.Is(err, discovery.ErrDamaged) {
		return flags.Usagef("%w; name a snapshot's file", err)
	}
	seen := inspected{File: file, SnapshotHeader: header, Sections: []inspectedSection{}}
	for _, section := range sections {
		seen.Sections = append(seen.Sections, inspectedSection{section.Name, len(section.Data)})
	}
	reads := compile.SnapshotFormat
	if strings.HasPrefix(header.Of, discovery.SnapshotOfNames) {
		reads = gslbSnapshotFormat
	}
	if err == nil && header.Format != reads {
		err = fmt.Errorf("its content has format %d, this program reads %d", header.Format, reads)
	}
	if err != nil {
		seen.Error = err.Error()
	}
	if output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return errors.Join(encoder.Encode(seen), err)
	}
	return errors.Join(seen.print(out), err)
}

func (s *inspected) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		_, _ = fmt.Fprintf(table, label+"\t"+format+"\n", args...) // Flush tells of what went wrong
	}
	line("file", "%s", s.File)
	if s.Hash != "" {
		line("of", "%s", s.Of)
		line("written", "%s by %s (%s ago)", s.Written.Format(time.RFC3339), s.Router, time.Since(s.Written).Truncate(time.Second))
		line("revision", "%d", s.Revision)
		line("hash", "%s", s.Hash)
		line("in force", "%s", s.EffectiveHash)
		if strings.HasPrefix(s.Of, discovery.SnapshotOfNames) {
			line("holds", "%d names", s.Names)
		} else {
			line("holds", "%d tenants, %d hosts, %d decks, %d pins", s.Tenants, s.Hosts, s.Decks, s.Pins)
		}
	}
	for _, section := range s.Sections {
		line("section", "%s, %d bytes, sum right", section.Name, section.Bytes)
	}
	if s.Error == "" {
		line("state", "whole")
	} else {
		line("state", "of no use")
	}
	return table.Flush()
}
