package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
)

// devNull is a place for what a command prints.
func devNull(t *testing.T) stdio {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return stdio{f, f, f}
}

func TestSplitArgs(t *testing.T) {
	for _, tt := range []struct {
		args  []string
		image string
		app   []string
		err   string
	}{
		{[]string{"app.aci"}, "app.aci", nil, ""},
		{[]string{"--vm", "app.aci", "--", "-x", "y"}, "app.aci", []string{"-x", "y"}, ""},
		{[]string{"app.aci", "--cpus", "2", "--"}, "app.aci", []string{}, ""},
		{nil, "", nil, "no image"},
		{[]string{"--", "x"}, "", nil, "no image"},
		{[]string{"app.aci", "ls"}, "", nil, `"ls"`},
	} {
		o := &runOptions{}
		f := o.flags(devNull(t))
		if err := f.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		image, app, err := splitArgs(f)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want one with %s", tt.args, err, tt.err)
			}
			continue
		}
		if err != nil || image != tt.image || !reflect.DeepEqual(app, tt.app) {
			t.Errorf("%q: image %q, app %q, %v", tt.args, image, app, err)
		}
	}
}

func TestOverrides(t *testing.T) {
	t.Setenv("FROM_HERE", "value")
	o := &runOptions{memory: "512M", cpus: 2, env: []string{"A=1", "FROM_HERE", "NOT_SET_ANYWHERE"}}
	v, err := o.overrides([]string{"x"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"A=1", "FROM_HERE=value"}; !reflect.DeepEqual(v.Env, want) {
		t.Errorf("environment %q, want %q", v.Env, want)
	}
	if v.MemoryBytes != 512<<20 || v.CPUs != 2 {
		t.Errorf("resources %d bytes, %d CPUs", v.MemoryBytes, v.CPUs)
	}
	for _, bad := range []*runOptions{{memory: "63M"}, {memory: "65G"}, {memory: "lots"}, {cpus: 33}, {cpus: -1}} {
		if _, err := bad.overrides(nil); err == nil {
			t.Errorf("accepted memory %q, cpus %d", bad.memory, bad.cpus)
		}
	}
}

func TestConclude(t *testing.T) {
	other := errors.New("other")
	for _, tt := range []struct {
		err  error
		code int
	}{
		{nil, 7},
		{other, 7},
		{errTimeout, 124},
		{errInterrupted, 130},
		{&attach.SignalError{Number: int(unix.SIGTERM)}, 143},
	} {
		if code, _ := (&runOptions{}).conclude(7, tt.err); code != tt.code {
			t.Errorf("%v: exit code %d, want %d", tt.err, code, tt.code)
		}
	}
}

func TestDispatchExitCodes(t *testing.T) {
	io := devNull(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		args []string
		code int
	}{
		{nil, 125},
		{[]string{"--help"}, 0},
		{[]string{"run", "--help"}, 0},
		{[]string{"trust", "--help"}, 0},
		{[]string{"version"}, 0},
		{[]string{"--no-such-option"}, 125},
		{[]string{"run"}, 125},
		{[]string{"--store"}, 125},
		{[]string{"trust"}, 125},
		{[]string{"trust", "add", "key.asc"}, 125},
		{[]string{"trust", "add", "--prefix", "a.b/c", "--root", "key.asc"}, 125},
		{[]string{"--config-dir", dir, "trust", "add", "--prefix", "example.com/x", "--yes", filepath.Join(dir, "absent")}, 125},
		{[]string{"--config-dir=" + dir, "trust", "list"}, 0},
	} {
		if code := run(tt.args, io); code != tt.code {
			t.Errorf("clearrun %q: exit code %d, want %d", tt.args, code, tt.code)
		}
	}
}
