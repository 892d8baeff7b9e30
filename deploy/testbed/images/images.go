// Package images maps the names of images to what lies on this machine. There is no registry:
// an image is a program, or a folder that is its root file system.
package images

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Image is what an image name stands for.
type Image struct {
	// Path is an executable file, which is then all that the image has in it, or a folder: its root.
	Path string
	// Folder says that Path is a folder.
	Folder bool
	// Entrypoint is the program's path within the image, with its first arguments. A container
	// that gives a command runs that instead. It is empty if the program is the first of Command.
	Entrypoint []string
	// Command are the arguments after those, if a container gives neither a command nor arguments.
	Command []string
	// Environment is NAME=value, and WorkingDir the program's folder, unless the container says
	// otherwise.
	Environment []string
	WorkingDir  string
	// UID and GID are who the program runs as, unless the pod says otherwise.
	UID, GID int64
}

// Map holds images by name. The zero Map holds none. It may be read by many at once.
type Map struct {
	byName map[string]Image
}

var errUsage = errors.New("an image is given as name[:tag]=path[,entrypoint=program][,user=uid[:gid]]")

// Add reads a mapping as flags give it: name[:tag]=path[,entrypoint=program][,user=uid[:gid]].
// A name without a tag stands for all tags that have no mapping of their own. A folder with a
// config.json is an image as layout.go reads it; any other is a root and needs an entrypoint, which
// may be given several times, for its arguments.
func (m *Map) Add(text string) error {
	name, rest, found := strings.Cut(text, "=")
	if !found || name == "" || rest == "" {
		return fmt.Errorf("%q: %w", text, errUsage)
	}
	parts := strings.Split(rest, ",")
	path, err := filepath.Abs(parts[0])
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	image := Image{Path: path, Folder: info.IsDir()}
	if image.Folder {
		if err := image.readConfig(); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	if slices.ContainsFunc(parts[1:], func(option string) bool { return strings.HasPrefix(option, "entrypoint=") }) {
		image.Entrypoint, image.Command = nil, nil
	}
	for _, option := range parts[1:] {
		if err := image.option(option); err != nil {
			return fmt.Errorf("image %s: %w", name, err)
		}
	}
	switch {
	case !image.Folder && info.Mode()&0o111 == 0:
		return fmt.Errorf("image %s: %s is not executable", name, path)
	case !image.Folder && Dynamic(path):
		return fmt.Errorf("image %s: %s is linked dynamically, and its libraries would not be there: build it with CGO_ENABLED=0, or map a folder", name, path)
	case image.Folder && len(image.Entrypoint)+len(image.Command) == 0:
		return fmt.Errorf("image %s: %s is a folder without a config.json, which needs entrypoint=", name, path)
	case !image.Folder && len(image.Entrypoint) == 0:
		image.Entrypoint = []string{"/" + filepath.Base(path)}
	}
	if m.byName == nil {
		m.byName = map[string]Image{}
	}
	m.byName[name] = image
	return nil
}

// Dynamic says whether a program needs a loader and libraries beside it.
func Dynamic(path string) bool {
	file, err := elf.Open(path)
	if err != nil {
		return false // no program of that kind
	}
	defer file.Close() //nolint:errcheck // it was only read
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			return true
		}
	}
	return false
}

func (i *Image) option(text string) error {
	key, value, _ := strings.Cut(text, "=")
	switch key {
	case "entrypoint":
		i.Entrypoint = append(i.Entrypoint, value)
		return nil
	case "user":
		return i.setUser(value)
	default:
		return fmt.Errorf("%q: %w", text, errUsage)
	}
}

func (i *Image) setUser(text string) error {
	user, group, both := strings.Cut(text, ":")
	if !both {
		group = user
	}
	uid, err := strconv.ParseUint(user, 10, 31)
	if err != nil {
		return fmt.Errorf("user %q is not a number", user)
	}
	gid, err := strconv.ParseUint(group, 10, 31)
	if err != nil {
		return fmt.Errorf("group %q is not a number", group)
	}
	i.UID, i.GID = int64(uid), int64(gid)
	return nil
}

// Find gives the image that a name with a tag stands for. A digest is not looked at.
func (m *Map) Find(name string) (Image, bool) {
	name, _, _ = strings.Cut(name, "@")
	if image, found := m.byName[name]; found {
		return image, true
	}
	// A colon before the last slash belongs to the port of a registry.
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	image, found := m.byName[name]
	return image, found
}

// Names lists the names that are mapped, in no order.
func (m *Map) Names() []string {
	names := make([]string, 0, len(m.byName))
	for name := range m.byName {
		names = append(names, name)
	}
	return names
}
