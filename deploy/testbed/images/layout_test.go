package images

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// newLayout makes a folder with a config.json, and with a root unless it is refused.
func newLayout(t testing.TB, config string, root bool) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if root {
		if err := os.Mkdir(filepath.Join(folder, "rootfs"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestAFolderWithAConfigIsTheImageThatItDescribes(t *testing.T) {
	const whole = `{"architecture": "amd64", "config": {"User": "65532:65533", "Entrypoint": ["/router"], "Cmd": ["serve"],
		"Env": ["STATE_DIRECTORY=/state"], "WorkingDir": "/state", "Labels": {"a": "b"}}}`
	for _, c := range []struct {
		config, options string
		want            Image
	}{
		{whole, "", Image{Entrypoint: []string{"/router"}, Command: []string{"serve"}, Environment: []string{"STATE_DIRECTORY=/state"}, WorkingDir: "/state", UID: 65532, GID: 65533}},
		{whole, ",user=7", Image{Entrypoint: []string{"/router"}, Command: []string{"serve"}, Environment: []string{"STATE_DIRECTORY=/state"}, WorkingDir: "/state", UID: 7, GID: 7}},
		{whole, ",entrypoint=/other,entrypoint=now", Image{Entrypoint: []string{"/other", "now"}, Environment: []string{"STATE_DIRECTORY=/state"}, WorkingDir: "/state", UID: 65532, GID: 65533}},
		{`{"config": {"Entrypoint": ["/router"]}}`, "", Image{Entrypoint: []string{"/router"}}},
		{`{"config": {"Cmd": ["/router", "serve"]}}`, "", Image{Command: []string{"/router", "serve"}}},
		{`{"config": {"Cmd": ["/router"], "User": "65532"}}`, "", Image{Command: []string{"/router"}, UID: 65532, GID: 65532}},
	} {
		folder := newLayout(t, c.config, true)
		var m Map
		if err := m.Add("router:v1=" + folder + c.options); err != nil {
			t.Errorf("%s: %v", c.config, err)
			continue
		}
		c.want.Path, c.want.Folder = filepath.Join(folder, "rootfs"), true
		if got, _ := m.Find("router:v1"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s%s: %+v; want %+v", c.config, c.options, got, c.want)
		}
	}
}

func TestConfigsThatNoContainerCanRunByAreRefused(t *testing.T) {
	for config, want := range map[string]string{
		`{`:                             "unexpected end",
		`{"config": 1}`:                 "cannot unmarshal",
		`{}`:                            "has neither an Entrypoint nor a Cmd",
		`{"config": {"User": "65532"}}`: "has neither an Entrypoint nor a Cmd",
		`{"config": {"Entrypoint": ["/router"], "User": "nobody"}}`: `"nobody" is not a number`,
	} {
		var m Map
		if err := m.Add("router=" + newLayout(t, config, true)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
	var m Map
	if err := m.Add("router=" + newLayout(t, `{"config": {"Cmd": ["/router"]}}`, false)); err == nil || !strings.Contains(err.Error(), "is no folder") {
		t.Errorf("without a root: %v", err)
	}
}

func FuzzConfigsAreReadOrRefused(f *testing.F) {
	f.Add(`{"config": {"User": "65532:65533", "Entrypoint": ["/router"], "Cmd": ["serve"]}}`)
	f.Add(`{"config": {"User": ":", "Cmd": [""]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		image := Image{Path: newLayout(t, text, true), Folder: true}
		if err := image.readConfig(); err == nil && (len(image.Entrypoint)+len(image.Command) == 0 || image.UID < 0 || image.GID < 0) {
			t.Errorf("%q: %+v", text, image)
		}
	})
}
