package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/hostrun/network"
)

func TestPlacesOfCNI(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	o := &runOptions{}
	f := o.flags(devNull(t))
	if err := f.Parse([]string{"--cni-config-dir", "nets", "--cni-plugin-dir", "/a:b", "--cni-plugin-dir", "/c", "x"}); err != nil {
		t.Fatal(err)
	}
	want := network.CNI{ConfigDir: filepath.Join(here, "nets"), PluginDirs: []string{"/a", filepath.Join(here, "b"), "/c"}}
	if got := o.cniOptions.places(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestDoctorKnowsCNI looks at what there is of it.
func TestDoctorKnowsCNI(t *testing.T) {
	dir := t.TempDir()
	c := network.CNI{ConfigDir: filepath.Join(dir, "nets"), PluginDirs: []string{filepath.Join(dir, "bin"), filepath.Join(dir, "none")}}
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ file, content, want string }{
		{"nets/readme.txt", "", "nothing of CNI (apt install containernetworking-plugins"},
		{"nets/b.conf", `{"name": "b", "type": "bridge"}`, "networks b, but no plugins"},
		{"nets/a.conflist", `{"name": "a", "plugins": [{"type": "bridge"}]}`, "networks a, b, but no plugins"},
		{"bin/bridge", "", "networks a, b, plugins in " + dir + "/bin"},
		{"nets/broken.json", "{", "networks a, b, plugins in " + dir + "/bin; cannot read " + dir + "/nets/broken.json: "},
	} {
		write(tt.file, tt.content)
		if got := examineCNI(c); !strings.Contains(got, tt.want) {
			t.Errorf("with %s: %q, want %q", tt.file, got, tt.want)
		}
	}
}
