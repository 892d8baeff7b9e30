package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// built is the folder that build.sh has made.
func built(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("GRIDROUTER_IMAGE")
	if folder == "" {
		t.Skip("no image was built: make image runs this")
	}
	return folder
}

// settings are what an image's configuration has that concerns its containers.
type settings struct {
	Created      time.Time `json:"created"`
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Config       struct {
		User         string
		ExposedPorts map[string]struct{}
		Env          []string
		Entrypoint   []string
		Cmd          []string
		WorkingDir   string
		Volumes      map[string]struct{}
		Labels       map[string]string
	} `json:"config"`
}

func TestTheImageHasTheRootThatTheTestbedRuns(t *testing.T) {
	folder := built(t)
	_, layers := readArchive(t, filepath.Join(folder, "image.tar"))
	if len(layers) != 1 {
		t.Fatalf("the image has %d layers; want 1", len(layers))
	}
	meant, err := os.ReadFile(filepath.Join(folder, "rootfs.tar"))
	if err != nil {
		t.Fatal(err)
	}
	got, want := entries(t, layers[0]), entries(t, meant)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the image's layer has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(want) != 4 || !strings.HasPrefix(want[0], "gridrouter ") {
		t.Errorf("the root has %q; want one program and the folder of its state", want)
	}
}

func TestTheImageHasTheConfigThatTheTestbedReads(t *testing.T) {
	folder := built(t)
	text, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	config, _ := readArchive(t, filepath.Join(folder, "image.tar"))
	got, want := readSettings(t, config), readSettings(t, text)
	// The engine may add what else it knows.
	got.Config.Env = withoutPath(got.Config.Env)
	for name := range got.Config.Labels {
		if !strings.HasPrefix(name, "org.opencontainers.image.") {
			delete(got.Config.Labels, name)
		}
	}
	if got.Config.WorkingDir == "/" {
		got.Config.WorkingDir = ""
	}
	if !got.Created.Equal(want.Created) {
		t.Errorf("it was created at %s; want %s, so that the same commit gives the same image", got.Created, want.Created)
	}
	got.Created = want.Created
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the image has\n%+v\nwant\n%+v", got, want)
	}
	if user := want.Config.User; user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
}

func readSettings(t *testing.T, text []byte) (s settings) {
	t.Helper()
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// withoutPath leaves out the search path, in which an image of one program has nothing to find.
func withoutPath(variables []string) (left []string) {
	for _, variable := range variables {
		if !strings.HasPrefix(variable, "PATH=") {
			left = append(left, variable)
		}
	}
	return left
}

// readArchive gives the configuration and the layers of the one image in an archive, as
// "docker save" writes it.
func readArchive(t *testing.T, path string) (config []byte, layers [][]byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	walk(t, text, func(header *tar.Header, content []byte) {
		if header.Typeflag == tar.TypeReg {
			files[filepath.Clean(header.Name)] = content
		}
	})
	var manifest []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("the archive's manifest.json: %v, %d images", err, len(manifest))
	}
	for _, layer := range manifest[0].Layers {
		layers = append(layers, plain(t, files[layer]))
	}
	return files[manifest[0].Config], layers
}

// plain gives the tar file of a layer, which some engines compress.
func plain(t *testing.T, layer []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(layer, []byte{0x1f, 0x8b}) {
		return layer
	}
	reader, err := gzip.NewReader(bufio.NewReader(bytes.NewReader(layer)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// entries describes what is in a tar file: name, mode, owner, time and content.
func entries(t *testing.T, text []byte) (all []string) {
	t.Helper()
	walk(t, text, func(header *tar.Header, content []byte) {
		all = append(all, fmt.Sprintf("%s %c %o %d:%d %d %x", strings.Trim(header.Name, "./"), header.Typeflag,
			header.Mode&0o7777, header.Uid, header.Gid, header.ModTime.Unix(), sha256.Sum256(content)))
	})
	return all
}

func walk(t *testing.T, text []byte, each func(*tar.Header, []byte)) {
	t.Helper()
	reader := tar.NewReader(bytes.NewReader(text))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		each(header, content)
	}
}
