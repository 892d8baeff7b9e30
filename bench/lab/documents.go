package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Ctl runs the real gridctl against the grid's etcd and returns what it printed on its
// standard output; the error holds what it printed on the other.
func (g *Grid) Ctl(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := g.ctl(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("gridctl %s: %w: %s", strings.Join(args, " "), err,
			strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// ctl returns the command line of gridctl against the grid's etcd, not started.
func (g *Grid) ctl(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(g.config.Bin, programCtl),
		append(g.config.etcd(Ctl, g.Etcd()), args...)...)
	cmd.Env = g.env
	return cmd
}

// apply writes the documents to etcd, unless an earlier run on this data folder did:
// what its user changed since must stay.
func (g *Grid) apply(ctx context.Context) error {
	done := filepath.Join(g.data, "applied")
	if _, err := os.Stat(done); err == nil || g.config.Documents == nil {
		return nil
	}
	dir := filepath.Join(g.data, "documents")
	if err := g.writeDocuments(dir); err != nil {
		return err
	}
	if _, err := g.Ctl(ctx, "apply", "-f", dir, "--why", "first documents of this grid"); err != nil {
		return fmt.Errorf("the documents cannot be applied: %w", err)
	}
	g.tell(Event{Kind: Applied})
	return os.WriteFile(done, nil, 0o600)
}

// writeDocuments copies the documents to dir, with the addresses of this grid's block.
func (g *Grid) writeDocuments(dir string) error {
	return fs.WalkDir(g.config.Documents, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !isDocument(path) {
			return err
		}
		text, err := fs.ReadFile(g.config.Documents, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(g.Rewrite(string(text))), 0o600)
	})
}

func isDocument(path string) bool {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// awaitNames waits until the DNS server answers for each name among the documents, so
// that routers which start then find them at their first try.
func (g *Grid) awaitNames(ctx context.Context) error {
	names, err := gslbNames(filepath.Join(g.data, "documents"))
	if err != nil {
		return err
	}
	p := g.run(GSLB)
	for _, name := range names {
		if err := await(ctx, p.Ended(), answersName(g.GSLB(), name)); err != nil {
			return fmt.Errorf("%s has no answer for %s: %w%s", GSLB, name, err, g.logHint(GSLB))
		}
	}
	return nil
}

// gslbNames lists the names of the Gslb documents in a folder.
func gslbNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		documents := yaml.NewDecoder(bytes.NewReader(text))
		for {
			var document struct{ Kind, Name string }
			if err := documents.Decode(&document); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("%s: %w", entry.Name(), err)
			}
			if document.Kind == "Gslb" {
				names = append(names, document.Name)
			}
		}
	}
	return names, nil
}
