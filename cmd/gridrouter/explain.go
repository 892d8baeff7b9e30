package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// explainFlags are the flags of "gridrouter explain".
type explainFlags struct {
	question              admission.Question
	routes, output, batch string
}

// newExplainCommand returns "gridrouter explain".
func newExplainCommand() *cobra.Command {
	f := &explainFlags{}
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Say which deck owns a request, and why, from a folder of documents",
		Long: `explain says what serve does with a request, by the same code and without sending it: whether it is
let in, which tenant owns its host, each rule that was considered and why, and the deck that serves it.

It reads the documents of --routes; a router says the same of its own at /explain, and gridctl explain
of those in etcd. It exits with 0 also where the answer is a fault.`,
		Example: `  gridrouter explain --routes deploy/samples http://shop.acme.example/ -H 'x-user-id: 10086'
  gridrouter explain --routes deploy/samples --method POST -o json http://shop.acme.example/admin
  echo '{"url": "http://shop.acme.example/", "headers": ["x-user-id: 7"]}' | gridrouter explain --routes deploy/samples --batch -`,
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) == 1) == (f.batch != "") || len(args) > 1 {
				return flags.Usagef("say which one request to explain, http://HOST/PATH, or give many with --batch")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.batch != "" {
				return explainBatch(cmd, f)
			}
			f.question.URL = args[0]
			return explain(cmd, f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.routes, "routes", "", "folder `DIR` of documents, as serve --routes reads it; required")
	fs.StringArrayVarP(&f.question.Headers, "header", "H", nil, "header `'Name: value'` of the request, repeatable; a Host takes the place of the URL's (default none)")
	fs.StringVarP(&f.question.Method, "method", "X", "GET", "`METHOD` of the request")
	fs.StringVar(&f.question.ClientIP, "client-ip", "", "`IP` address of the client, as the router would believe it (default unknown)")
	fs.StringVarP(&f.output, "output", "o", "text", "form of the answer: `text|json`")
	fs.StringVar(&f.batch, "batch", "", "`FILE` of many requests, - for standard input: a JSON object a line with url and, if wanted, method, headers and clientIP; each is answered by a line of JSON (default none)")
	return cmd
}

// explainBatch prints the explanations of many requests.
func explainBatch(cmd *cobra.Command, f *explainFlags) error {
	if f.routes == "" {
		return flags.Usagef("--routes is missing; name the folder of documents to explain by")
	}
	table, err := tableOf(cmd, f.routes)
	if err != nil {
		return err
	}
	in := cmd.InOrStdin()
	if f.batch != "-" {
		file, err := os.Open(f.batch)
		if err != nil {
			return flags.Usagef("--batch: %w", err)
		}
		defer func() { _ = file.Close() }() // only read
		in = file
	}
	if err := admission.ExplainAll(table, in, cmd.OutOrStdout()); err != nil {
		return flags.Usagef("--batch: %w", err)
	}
	return nil
}

// explain prints the explanation of one request.
func explain(cmd *cobra.Command, f *explainFlags) error {
	if f.output != "text" && f.output != "json" {
		return flags.Usagef("--output: %q is not a form of answer; write text or json", f.output)
	}
	if f.routes == "" {
		return flags.Usagef("--routes is missing; name the folder of documents to explain by")
	}
	if f.question.ClientIP != "" {
		if _, err := netip.ParseAddr(f.question.ClientIP); err != nil {
			return flags.Usagef("--client-ip: %q is no IP address; write one such as 192.0.2.7", f.question.ClientIP)
		}
	}
	table, err := tableOf(cmd, f.routes)
	if err != nil {
		return err
	}
	explanation, err := admission.Explain(table, nil, f.question)
	if err != nil {
		return flags.Usagef("%w", err)
	}
	if f.output == "text" {
		_, err = fmt.Fprint(cmd.OutOrStdout(), explanation.Text())
		return err
	}
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(explanation)
}

// tableOf compiles a folder of documents as serve --routes does at its start. Problems
// are told on the error output: what is in force without the bad documents is explained
// all the same.
func tableOf(cmd *cobra.Command, dir string) (*routing.Table, error) {
	reader := catalog.NewReader()
	files, err := documentFiles(dir)
	if err != nil {
		return nil, flags.Usagef("--routes: %w", err)
	}
	split := splitter("", reader)
	update := compile.Update{Whole: true, Revision: 1}
	seen := map[string]bool{}
	for _, file := range files {
		name, data, err := readDocumentFile(file, nil)
		if err != nil {
			return nil, err
		}
		entries, err := split(name, data)
		if err != nil {
			update.Faults = append(update.Faults, routing.Problem{Origin: name, Code: routing.ProblemUnreadable, Message: err.Error()})
		}
		for _, entry := range entries {
			if seen[entry.Key] {
				update.Faults = append(update.Faults, routing.Problem{Key: entry.Key, Origin: entry.Origin, Code: routing.ProblemUnreadable,
					Message: "the document stands in the folder more than once; the first is taken"})
				continue
			}
			seen[entry.Key] = true
			update.Changes = append(update.Changes, compile.Change{Key: entry.Key, Value: entry.Value, Revision: 1, Origin: entry.Origin})
		}
	}
	table, err := compile.NewCompiler(reader.Decode).Compile(update)
	if err != nil {
		return nil, err
	}
	for _, problem := range table.Problems() {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "problem: %s: %s: %s\n", problem.Origin, problem.Code, problem.Message)
	}
	return table, nil
}
