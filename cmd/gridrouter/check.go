package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// newCheckCommand returns "gridrouter check".
func newCheckCommand() *cobra.Command {
	routes := ""
	cmd := &cobra.Command{
		Use:   "check PATH...",
		Short: "Check documents, each by itself and all together",
		Long: `check reads files of documents, folders of such files (*.yaml, *.yml, *.json), or "-" for the
standard input, and takes all documents together for everything there is.

It prints each problem in a line with its place and the mend, and exits with 2; or it says
how many documents it read, and exits with 0.`,
		Example: `  gridrouter check deploy/samples
  gridrouter check decks.yaml tenants.yaml
  gridctl get tenants -o yaml | gridrouter check decks.yaml -`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			if routes != "" {
				paths = append([]string{routes}, paths...)
			}
			if len(paths) == 0 {
				return flags.Usagef("there is nothing to check; name files or folders of documents, or - for the standard input")
			}
			return check(cmd, paths)
		},
	}
	cmd.Flags().StringVar(&routes, "routes", "", "check the folder `DIR` too, as serve --routes would read it (default none)")
	return cmd
}

// check prints what is wrong with documents, or that nothing is.
func check(cmd *cobra.Command, paths []string) error {
	docs, faults, err := readDocuments(catalog.NewReader(), paths, cmd.InOrStdin())
	if err != nil {
		return err
	}
	problems := errorLines(faults)
	for _, doc := range docs {
		if doc.Err != nil {
			problems = append(problems, errorLines([]error{doc.Err})...)
		}
	}
	// Across documents: those that are bad by themselves count as present there.
	problems = append(problems, errorLines(catalog.Check(docs))...)
	for _, warning := range warnings(docs) {
		if _, err := fmt.Fprintln(cmd.ErrOrStderr(), warning); err != nil {
			return err
		}
	}
	if len(problems) == 0 {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s, no problems\n", count(docs))
		return err
	}
	for _, problem := range problems {
		if _, err := fmt.Fprintln(cmd.ErrOrStderr(), problem); err != nil {
			return err
		}
	}
	if len(problems) == 1 {
		return flags.Usagef("%s, 1 problem; mend it, then check again", count(docs))
	}
	return flags.Usagef("%s, %d problems; mend them, then check again", count(docs), len(problems))
}

// warnings are about documents that are in order and may not do what is expected of them.
func warnings(docs []document.Parsed) (lines []string) {
	mesh := map[string]string{} // domain -> deck on the mesh
	for _, doc := range docs {
		if deck, ok := doc.Document.(*routing.Deck); ok && doc.Err == nil && deck.Attach == routing.AttachMesh {
			mesh[deck.Domain] = deck.Name
		}
	}
	for _, doc := range docs {
		if doc.Err != nil {
			continue
		}
		switch d := doc.Document.(type) {
		case *routing.Tenant:
			if d.PassesSlashesByRules() {
				lines = append(lines, fmt.Sprintf("%s: warning: tenant %s has encodedSlash: pass and rules that read paths: a deck that takes %%2F for a slash sees another path than they did", doc.Origin, d.Name))
			}
		case *gslb.Document:
			if deck := mesh[d.Name]; deck != "" && chooses(d) {
				lines = append(lines, fmt.Sprintf("%s: warning: %s chooses among its addresses by weights, failover or nearness, and routers do not go by that: they send requests for deck %s to every address that they are given alike",
					doc.Origin, d.Name, deck))
			}
		}
	}
	return lines
}

// chooses says whether a name gives some of its addresses more than others.
func chooses(d *gslb.Document) bool {
	full := d.Canonical()
	for i := range full.VIPs {
		if *full.VIPs[i].Weight != *full.VIPs[0].Weight {
			return true
		}
	}
	return len(full.VIPs) > 1 && full.Policy != gslb.PolicyWeighted
}

// count says how many documents there are: "1 document", "12 documents".
func count(docs []document.Parsed) string {
	if len(docs) == 1 {
		return "1 document"
	}
	return fmt.Sprintf("%d documents", len(docs))
}
