package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
)

// maxTold is how many reasons of a refusal are told one by one.
const maxTold = 50

// commandError turns the catalog's errors into those of the command. Reasons why documents are
// refused go to the error output, one a line, and end the command as bad input.
func commandError(cmd *cobra.Command, err error) error {
	var refused *catalog.RefusedError
	switch {
	case errors.As(err, &refused):
		return refuse(cmd, refused.Reasons)
	case errors.Is(err, context.Canceled):
		return errors.New("stopped before the end; run the same command again to finish")
	}
	return err
}

// refuse tells why documents are refused.
func refuse(cmd *cobra.Command, reasons []error) error {
	lines := make([]string, 0, len(reasons))
	for _, reason := range reasons {
		for line := range strings.Lines(reason.Error()) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(lines) == 1 {
		return flags.Usagef("%s; nothing was written", lines[0])
	}
	for _, line := range lines[:min(maxTold, len(lines))] {
		printTo(cmd.ErrOrStderr(), "%s\n", line)
	}
	if rest := len(lines) - maxTold; rest > 0 {
		printTo(cmd.ErrOrStderr(), "... and %d more\n", rest)
	}
	return flags.Usagef("refused for %d reasons; nothing was written", len(lines))
}
