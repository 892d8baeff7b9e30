//go:build !slim

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

func newFleetsListCommand(k *kubernetes) *cobra.Command {
	var (
		output string
		all    bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the fleets of a namespace, and what goes on in each",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf(output, "table", "json", "yaml"); err != nil {
				return err
			}
			if all && cmd.Flags().Changed("namespace") {
				return flags.Usagef("--all-namespaces and --namespace exclude each other; leave one out")
			}
			return k.open(cmd, func(ctx context.Context, fleets *services.Fleets, namespace string) error {
				if all {
					namespace = metav1.NamespaceAll
				}
				found, err := fleets.List(ctx, namespace)
				if err != nil {
					return err
				}
				if output != "table" {
					return writeFleetList(cmd.OutOrStdout(), found, output)
				}
				return writeFleetTable(cmd.OutOrStdout(), found, namespace, time.Now())
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "of all namespaces")
	return cmd
}

func writeFleetList(out io.Writer, found []v1alpha1.GridRouter, output string) error {
	list := &v1alpha1.GridRouterList{Items: make([]v1alpha1.GridRouter, 0, len(found))}
	list.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("GridRouterList"))
	for i := range found {
		found[i].ManagedFields = nil
		list.Items = append(list.Items, found[i])
	}
	return writeForm(out, list, output)
}

// writeForm writes a value as JSON or as YAML.
func writeForm(out io.Writer, value any, output string) error {
	if output == "json" {
		return writeJSON(out, value)
	}
	text, err := sigsyaml.Marshal(value)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

func writeFleetTable(out io.Writer, found []v1alpha1.GridRouter, namespace string, now time.Time) error {
	if len(found) == 0 {
		where := "namespace " + namespace
		if namespace == metav1.NamespaceAll {
			where = "any namespace"
		}
		_, err := fmt.Fprintf(out, "no fleet in %s\n", where)
		return err
	}
	table := newTable(out)
	printTo(table, "%s\n", "NAMESPACE\tNAME\tVERSION\tROUTERS\tREADY\tAVAILABLE\tAGE\tSTATUS")
	for i := range found {
		f := &found[i]
		printTo(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", f.Namespace, f.Name, versionsOf(f), f.Status.Replicas, f.Status.Ready,
			availableOf(f), sinceOf(f.CreationTimestamp, now), onOneLine(services.Describe(f, now)))
	}
	return table.Flush()
}

// versionsOf is the version of a fleet, or the two of an upgrade.
func versionsOf(f *v1alpha1.GridRouter) string {
	has, gets := cmp.Or(f.Status.Versions.Current, f.Spec.Version), cmp.Or(f.Status.Versions.Target, f.Spec.Version)
	if has == gets {
		return has
	}
	return has + " -> " + gets
}

func availableOf(f *v1alpha1.GridRouter) string {
	for i := range f.Status.Conditions {
		if c := &f.Status.Conditions[i]; c.Type == string(v1alpha1.ConditionAvailable) {
			return string(c.Status)
		}
	}
	return string(metav1.ConditionUnknown)
}

// sinceOf is how long ago something was, to its greatest unit.
func sinceOf(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	switch age := max(now.Sub(t.Time), 0); {
	case age < 2*time.Minute:
		return fmt.Sprintf("%ds", int(age.Seconds()))
	case age < 2*time.Hour:
		return fmt.Sprintf("%dm", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%dh", int(age.Hours()))
	default:
		return fmt.Sprintf("%dd", int(age.Hours())/24)
	}
}

func newFleetsGetCommand(k *kubernetes) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show a fleet: what is wanted, what is there, and why they differ",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "json", "yaml"); err != nil {
				return err
			}
			return k.open(cmd, func(ctx context.Context, fleets *services.Fleets, namespace string) error {
				fleet, err := fleets.Get(ctx, services.Ref{Namespace: namespace, Name: args[0]})
				if err != nil {
					return err
				}
				if output == "table" {
					return writeOneFleet(cmd.OutOrStdout(), fleet, time.Now())
				}
				fleet.ManagedFields = nil
				return writeForm(cmd.OutOrStdout(), fleet, output)
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return cmd
}

func writeOneFleet(out io.Writer, f *v1alpha1.GridRouter, now time.Time) error {
	table := newTable(out)
	row := func(name, format string, args ...any) {
		printTo(table, "%s\t%s\n", name, onOneLine(fmt.Sprintf(format, args...)))
	}
	row("fleet", "%s/%s", f.Namespace, f.Name)
	row("status", "%s", services.Describe(f, now))
	row("version", "%s", versionsOf(f))
	if f.Spec.RollbackTo != 0 {
		row("rolled back", "to revision %d; version, image, etcd, prefix, listeners, gslb, resources, placement, drain and args of the spec do not apply until an upgrade", f.Spec.RollbackTo)
	}
	row("routers", "%s, %d there, %d ready, %d of the newest revision", wantedOf(f), f.Status.Replicas, f.Status.Ready, f.Status.Updated)
	row("etcd", "%s%s", etcdOf(f), trailingPrefix(f))
	if f.Spec.Exposure.VIP != "" {
		row("VIP", "%s, %s", f.Spec.Exposure.VIP, count(len(f.Status.RealServers), "real server"))
	}
	if t := f.Status.Table; t != nil {
		row("tables", "revision %d to %d, %s", t.RevisionLow, t.RevisionHigh, count(len(t.Hashes), "hash"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := writeConditions(out, f, now); err != nil {
		return err
	}
	return writeInstances(out, f)
}

func trailingPrefix(f *v1alpha1.GridRouter) string { return ", prefix " + f.Spec.Prefix }

func wantedOf(f *v1alpha1.GridRouter) string {
	switch {
	case f.Spec.Autoscaling != nil:
		return fmt.Sprintf("%d to %d wanted by load", f.Spec.Autoscaling.Min, f.Spec.Autoscaling.Max)
	case f.Spec.Replicas != nil:
		return fmt.Sprintf("%d wanted", *f.Spec.Replicas)
	}
	return "none wanted"
}

func writeConditions(out io.Writer, f *v1alpha1.GridRouter, now time.Time) error {
	if len(f.Status.Conditions) == 0 {
		return nil
	}
	table := newTable(out)
	printTo(table, "\n%s\n", "CONDITION\tSTATUS\tREASON\tSINCE\tMESSAGE")
	for i := range f.Status.Conditions {
		c := &f.Status.Conditions[i]
		printTo(table, "%s\t%s\t%s\t%s\t%s\n", c.Type, c.Status, c.Reason, sinceOf(c.LastTransitionTime, now), onOneLine(c.Message))
	}
	return table.Flush()
}

func writeInstances(out io.Writer, f *v1alpha1.GridRouter) error {
	if len(f.Status.Instances) == 0 {
		return nil
	}
	table := newTable(out)
	printTo(table, "\n%s\n", "ROUTER\tVERSION\tREVISION\tREADY\tADDRESS\tNODE\tZONE\tTABLE\tNOTE")
	for i := range f.Status.Instances {
		r := &f.Status.Instances[i]
		note := onOneLine(r.Why)
		if r.Canary {
			note = strings.TrimSuffix("canary; "+note, "; ")
		}
		printTo(table, "%s\t%s\t%d\t%t\t%s\t%s\t%s\t%d\t%s\n", r.Name, orElse(r.Version, "-"), r.Revision, r.Ready, orElse(r.Address, "-"),
			orElse(r.Node, "-"), orElse(r.Zone, "-"), r.TableRevision, orElse(note, "-"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if rest := int(f.Status.Replicas) - len(f.Status.Instances); rest > 0 {
		printTo(out, "and %s more\n", count(rest, "router"))
	}
	return nil
}

// etcdOf says which etcd a fleet follows.
func etcdOf(f *v1alpha1.GridRouter) string {
	if f.Spec.Etcd.Cluster != "" {
		return "EtcdCluster " + f.Spec.Etcd.Cluster
	}
	return strings.TrimSpace(strings.Trim(fmt.Sprint(f.Spec.Etcd.Endpoints), "[]"))
}
