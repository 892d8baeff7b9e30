// Package parts runs a measurement that is made of parts, all of them or those that are asked for.
package parts

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Part is a piece of a measurement that may be run alone. B is what all parts work on.
type Part[B any] struct {
	// Name is what people call it.
	Name string
	// Run runs it.
	Run func(on B, ctx context.Context) error
}

// Parts are those of one measurement, in the order in which they are run.
type Parts[B any] []Part[B]

// Names returns the names of the parts in their order.
func (p Parts[B]) Names() []string {
	names := make([]string, 0, len(p))
	for _, part := range p {
		names = append(names, part.Name)
	}
	return names
}

// Check says which of some names is that of no part.
func (p Parts[B]) Check(only []string) error {
	for _, name := range only {
		if !slices.Contains(p.Names(), name) {
			return fmt.Errorf("there is no part %q; name some of %s", name, strings.Join(p.Names(), ", "))
		}
	}
	return nil
}

// Run runs the parts with the given names, or all if none is given, in their order, and tells the name
// of each before it runs. It ends at the first error, or when ctx does, and names the part then.
func (p Parts[B]) Run(ctx context.Context, on B, only []string, tell func(name string)) error {
	for _, part := range p {
		if len(only) > 0 && !slices.Contains(only, part.Name) {
			continue
		}
		tell(part.Name)
		err := part.Run(on, ctx)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part.Name, err)
		}
	}
	return nil
}
