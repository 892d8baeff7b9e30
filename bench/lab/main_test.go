package lab_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"gridrouter.io/bench/lab"
	"gridrouter.io/deploy/samples"
)

// programs are built once, by the first test that asks for them.
type programs struct {
	once sync.Once
	dir  string
	err  error
}

var built programs

func (p *programs) build() (string, error) {
	p.once.Do(func() {
		if p.dir, p.err = os.MkdirTemp("", "grid-bin-"); p.err != nil {
			return
		}
		var flags []string
		if raceDetector {
			flags = append(flags, "-race")
		}
		p.err = lab.Build(context.Background(), p.dir, flags...)
	})
	return p.dir, p.err
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// bin returns the folder of programs; it builds them at its first call.
func bin(t testing.TB) string {
	t.Helper()
	dir, err := built.build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// sampleConfig describes a grid with the sample documents, in a block of its own.
func sampleConfig(bin string) lab.Config {
	return lab.Config{Bin: bin, Documents: samples.Files}
}

// startGrid starts a grid that ends with the test.
func startGrid(t *testing.T, config lab.Config) *lab.Grid {
	t.Helper()
	grid, err := lab.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkLogs(t.Errorf, grid)
		if err := grid.Stop(); err != nil {
			t.Error(err)
		}
	})
	return grid
}
