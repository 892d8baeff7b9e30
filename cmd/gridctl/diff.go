package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// newDiffCommand returns "gridctl diff".
func newDiffCommand(to *connection) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "diff -f FILE|DIR|-",
		Short: "Show how documents differ from those in etcd",
		Long: `Prints, as diff -u does, how the given documents differ from those in etcd: what apply
would change in them. An epoch lower than the stored one is no difference, since apply keeps the
higher. Exit status: 0 no difference, 1 some.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			docs, err := readDocuments(cmd, catalog.NewReader(), files)
			if err != nil {
				return err
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				keys := make([]string, len(docs))
				for i := range docs {
					keys[i] = docs[i].Key
				}
				stored, err := grid.GetMany(ctx, keys)
				if err != nil {
					return err
				}
				return writeDiffs(cmd.OutOrStdout(), docs, stored)
			})
		},
	}
	cmd.Flags().StringSliceVarP(&files, "filename", "f", nil, "`FILE` or folder of documents (.yaml, .yml, .json), or - for the standard input; repeatable")
	return cmd
}

// writeDiffs writes all differences, and returns an error if there are any.
func writeDiffs(out io.Writer, docs []document.Parsed, stored map[string]catalog.Item) error {
	differ := 0
	for i := range docs {
		item, there := stored[docs[i].Key]
		text, err := diffOf(&docs[i], item, there)
		if err != nil {
			return err
		}
		if len(text) == 0 {
			continue
		}
		differ++
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	if differ == 0 {
		return nil
	}
	return fmt.Errorf("%d of %s differ from etcd", differ, count(len(docs), "document"))
}

// diffOf returns the difference of one document, empty if there is none.
func diffOf(doc *document.Parsed, item catalog.Item, there bool) ([]byte, error) {
	given, err := givenForm(doc, item)
	if err != nil {
		return nil, err
	}
	after, err := toYAML(given)
	if err != nil {
		return nil, err
	}
	if !there {
		return diff.Diff("etcd: none", nil, doc.Origin+" "+doc.Key, after), nil
	}
	before, err := toYAML(storedForm(item))
	if err != nil {
		before = slices.Concat(item.Value, []byte("\n"))
	}
	return diff.Diff(fmt.Sprintf("etcd %s (revision %d)", doc.Key, item.Revision), before, doc.Origin+" "+doc.Key, after), nil
}

// storedForm is the stored value in the canonical form, so that only meaning differs.
func storedForm(item catalog.Item) []byte {
	if item.Err != nil {
		return item.Value
	}
	form, err := document.Encode(item.Document)
	if err != nil {
		return item.Value
	}
	return form
}

// givenForm is what apply would store, were no rule changed.
func givenForm(doc *document.Parsed, item catalog.Item) ([]byte, error) {
	given, isTenant := doc.Document.(*routing.Tenant)
	was, wasTenant := item.Document.(*routing.Tenant)
	if !isTenant {
		return doc.JSON, nil
	}
	form := *given
	form.Epoch = max(form.Epoch, 1)
	if wasTenant && was != nil {
		form.Epoch = max(form.Epoch, was.Epoch)
	}
	return document.Encode(&form)
}
