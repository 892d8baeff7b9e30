package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds the programs that a grid consists of into dir, with the Go toolchain
// found in PATH and further flags of "go build" (such as -race). The working directory
// must lie within the module.
func Build(ctx context.Context, dir string, flags ...string) error {
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)
	for _, program := range []string{programRouter, programCtl, programDev} {
		args = append(args, "gridrouter.io/cmd/"+program)
	}
	output, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the grid's programs cannot be built: %w\n%s", err, output)
	}
	return nil
}

// findPrograms checks that all programs are in dir.
func findPrograms(dir string) error {
	for _, program := range []string{programRouter, programCtl, programDev} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return fmt.Errorf("%s is missing in %s; build all programs with \"make build\"", program, dir)
		}
	}
	return nil
}
