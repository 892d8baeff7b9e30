//go:build !slim

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/deploy/manifests"
	"gridrouter.io/deploy/operator/fleet/canary"
)

// newManifestsCommand returns "gridrouter operator manifests".
func newManifestsCommand() *cobra.Command {
	var o manifests.Options
	cmd := &cobra.Command{
		Use:   "manifests",
		Short: "Print all that an installation of the operator needs, for kubectl apply -f -",
		Long: `manifests prints the kinds, the rights, the operator itself and its metrics API as YAML. The same binary and
flags print the same bytes. "kubectl apply -k deploy/manifests" brings the same objects.`,
		Example: `  gridrouter operator manifests --image registry.example:5000/gridrouter --version v1.4.0 | kubectl apply -f -
  gridrouter operator manifests --without-metrics-api | kubectl diff -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := manifests.Render(o)
			if err != nil {
				return flags.Usagef("--namespace, --image, --version: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.Namespace, "namespace", manifests.Namespace, "`NAME` of the namespace to install to, which is made")
	fs.StringVar(&o.Image, "image", manifests.Image, "`IMAGE` of the operator, and of fleets that name none; without a tag")
	fs.StringVar(&o.Version, "version", tagOf(flags.BuildVersion(version)), "`TAG` of the operator's image")
	fs.BoolVar(&o.WithoutMetricsAPI, "without-metrics-api", false, "leave out the metrics API, where another adapter serves custom.metrics.k8s.io")
	return cmd
}

// tagOf returns a version as a tag of images, which have no +.
func tagOf(version string) string { return strings.ReplaceAll(version, "+", "-") }

// drawing is a state machine of the operator that can be drawn.
type drawing interface {
	Mermaid() string
	PlantUML() string
}

// machines returns the state machines by name.
func machines() map[string]drawing {
	return map[string]drawing{"canary": canary.New()}
}

// newDiagramCommand returns "gridrouter operator diagram".
func newDiagramCommand() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use:   "diagram [NAME]",
		Short: "Draw a state machine of the operator; without a name, list them",
		Long: `diagram prints a state machine as the operator runs it, as a state diagram in the language of Mermaid or
PlantUML. Without a name it lists the machines.`,
		Example: `  gridrouter operator diagram
  gridrouter operator diagram canary
  gridrouter operator diagram canary --output plantuml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return draw(cmd.OutOrStdout(), args, form) },
	}
	cmd.Flags().StringVarP(&form, "output", "o", "mermaid", "`FORM` of the picture: mermaid or plantuml")
	return cmd
}

func draw(w io.Writer, args []string, form string) error {
	all := machines()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	text := strings.Join(names, "\n") + "\n"
	if len(args) > 0 {
		machine, ok := all[args[0]]
		switch {
		case !ok:
			return flags.Usagef("there is no machine %q; there are: %s", args[0], strings.Join(names, ", "))
		case form == "mermaid":
			text = machine.Mermaid()
		case form == "plantuml":
			text = machine.PlantUML()
		default:
			return flags.Usagef("--output: %q is not a form; write mermaid or plantuml", form)
		}
	}
	_, err := fmt.Fprint(w, text)
	return err
}
