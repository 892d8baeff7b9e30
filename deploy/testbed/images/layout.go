package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// An image with a configuration of its own is a folder with two entries: rootfs, its root, and
// config.json, whose member config is that of the OCI image specification.
const (
	configFile = "config.json"
	rootFolder = "rootfs"
)

// config is what of an image's configuration concerns its containers.
type config struct {
	Config struct {
		User       string
		Entrypoint []string
		Cmd        []string
		Env        []string
		WorkingDir string
	} `json:"config"`
}

var errNoEntrypoint = errors.New("has neither an Entrypoint nor a Cmd")

// readConfig takes over what a folder's config.json says, if there is one.
func (i *Image) readConfig() error {
	path := filepath.Join(i.Path, configFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	root := filepath.Join(i.Path, rootFolder)
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is there, and its root %s is no folder", path, root)
	}
	var read config
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	said := read.Config
	i.Path, i.Entrypoint, i.Command = root, said.Entrypoint, said.Cmd
	i.Environment, i.WorkingDir = said.Env, said.WorkingDir
	if len(i.Entrypoint)+len(i.Command) == 0 {
		return fmt.Errorf("%s %w", path, errNoEntrypoint)
	}
	if said.User == "" {
		return nil
	}
	if err := i.setUser(said.User); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
