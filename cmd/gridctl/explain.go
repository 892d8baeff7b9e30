package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/valyala/fasthttp"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// question is what "gridctl explain" asks.
type question struct {
	admission.Question
	revision int64 // 0: the one in force
}

// newExplainCommand returns "gridctl explain".
func newExplainCommand(to *connection) *cobra.Command {
	var (
		q                         question
		output, router, tokenFile string
		batch                     string
	)
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Say which deck owns a request, and why",
		Long: `Says what routers do with a request, without sending it: its tenant, every rule that is
considered and why it decides or not, the key, and the deck.

It decides by the documents in etcd, as routers do, or asks a router that runs (--router), which
answers by what it holds, or held a while ago (--revision).`,
		Example: `  gridctl explain http://shop.acme.example/cart -H 'x-user-id: 10086'
  gridctl explain http://shop.acme.example/ --router 127.0.0.1:9901 -o json
  gridctl explain http://shop.acme.example/ --router 127.0.0.1:9901 --revision 4711
  gridctl explain --batch requests.jsonl`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case (len(args) == 1) == (batch != ""):
				return flags.Usagef("say which one request to explain, http://HOST/PATH, or give many with --batch")
			case batch != "" && router != "":
				return flags.Usagef("--batch is answered by the documents in etcd; leave out --router")
			case q.revision < 0:
				return flags.Usagef("--revision: %d is no revision; write one such as 4711", q.revision)
			case q.revision > 0 && router == "":
				return flags.Usagef("--revision asks a router for a table that it had; give --router")
			case batch != "":
				return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error { return explainBatch(ctx, cmd, grid, batch) })
			}
			q.URL = args[0]
			if err := oneOf(output, "text", "json"); err != nil {
				return err
			}
			if router != "" {
				return askRouter(cmd, &q, &adminAddress{router, tokenFile}, to.timeout, output)
			}
			return to.open(cmd, func(ctx context.Context, grid *catalog.Catalog) error {
				return askEtcd(ctx, cmd, grid, &q, output)
			})
		},
	}
	cmd.Flags().StringArrayVarP(&q.Headers, "header", "H", nil, "`'NAME: VALUE'` of the request; repeatable")
	cmd.Flags().StringVar(&q.Method, "method", "GET", "method of the request")
	cmd.Flags().StringVar(&q.ClientIP, "client-ip", "", "`IP` of the client (default unknown)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&router, "router", "", "admin `ADDRESS` of the router to ask, such as 127.0.0.1:9901 (default: decide by the documents in etcd)")
	cmd.Flags().Int64Var(&q.revision, "revision", 0, "with --router: decide by the table that was in force at the revision `N`, if the router still keeps it; 0: by the one in force now")
	cmd.Flags().StringVar(&batch, "batch", "", "`FILE` of many requests, - for standard input: a JSON object a line with url and, if wanted, method, headers and clientIP; each is answered by a line of JSON (default none)")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "`FILE` with the token for --router (default none)")
	return cmd
}

// explainBatch decides many requests by the documents in etcd, all at one revision.
func explainBatch(ctx context.Context, cmd *cobra.Command, grid *catalog.Catalog, batch string) error {
	requests, err := readInput(cmd, batch)
	if err != nil {
		return inputError("--batch: ", err)
	}
	update, err := grid.Update(ctx)
	if err != nil {
		return err
	}
	table, err := compile.NewCompiler(grid.Reader().Decode).Compile(update)
	if err != nil {
		return err
	}
	if err := admission.ExplainAll(table, bytes.NewReader(requests), cmd.OutOrStdout()); err != nil {
		return flags.Usagef("--batch: %w", err)
	}
	return nil
}

// askEtcd decides by the documents in etcd.
func askEtcd(ctx context.Context, cmd *cobra.Command, grid *catalog.Catalog, q *question, output string) error {
	if q.ClientIP != "" {
		if _, err := netip.ParseAddr(q.ClientIP); err != nil {
			return flags.Usagef("--client-ip: %q is not an IP address", q.ClientIP)
		}
	}
	update, err := grid.Update(ctx)
	if err != nil {
		return err
	}
	table, err := compile.NewCompiler(grid.Reader().Decode).Compile(update)
	if err != nil {
		return err
	}
	answer, err := admission.Explain(table, nil, q.Question)
	if err != nil {
		return flags.Usagef("%w", err)
	}
	for _, problem := range table.Problems() {
		if answer.Tenant != "" && problem.Key == catalog.FolderTenants+"/"+answer.Tenant {
			printTo(cmd.ErrOrStderr(), "problem: %s: %s\n", problem.Key, problem.Message)
		}
	}
	return writeExplanation(cmd.OutOrStdout(), answer, output)
}

func writeExplanation(out io.Writer, answer routing.Explanation, output string) error {
	if output == "json" {
		return writeJSON(out, answer)
	}
	_, err := io.WriteString(out, answer.Text())
	return err
}

// askRouter asks a router's admin endpoint.
func askRouter(cmd *cobra.Command, q *question, at *adminAddress, timeout time.Duration, output string) error {
	body, err := at.call(cmd.Context(), fasthttp.MethodGet, "explain?"+q.query(), timeout)
	if err != nil {
		return err
	}
	return readAnswer(cmd, at.router, body, output)
}

// readAnswer takes a router's answer.
func readAnswer(cmd *cobra.Command, host string, body []byte, output string) error {
	answer := routing.Explanation{Slot: -1}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("what answers at %s is not a router's admin listener: %w", host, err)
	}
	return writeExplanation(cmd.OutOrStdout(), answer, output)
}

// firstLine is what a router says is wrong, fit for an error.
func firstLine(body []byte) string {
	var told struct{ Error string }
	if json.Unmarshal(body, &told) == nil && told.Error != "" {
		body = []byte(told.Error)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return line[:min(len(line), 300)]
}

// query is the question as /explain takes it.
func (q *question) query() string {
	values := q.Query()
	if q.revision > 0 {
		values.Set("revision", strconv.FormatInt(q.revision, 10))
	}
	return values.Encode()
}
