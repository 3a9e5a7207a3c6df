package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types/create"
)

const sampleConfig = `{"cniVersion": "1.0.0", "name": "web", "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "portmap", "capabilities": {"portMappings": true}}]}`

// newRecord makes a record in a new state directory.
func newRecord(t testing.TB) *attachment {
	t.Helper()
	list, err := parseList([]byte(sampleConfig), "")
	if err != nil {
		t.Fatal(err)
	}
	a, err := CNI{StateDir: filepath.Join(t.TempDir(), "state")}.withDefaults().record(list, []Port{{HostPort: 8080, Port: 80, Count: 2, Protocol: "tcp"}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestRecord has a record that is held, then left over, then undone.
func TestRecord(t *testing.T) {
	a := newRecord(t)
	if claimed, faults := a.cni.leftOver(); len(claimed)+len(faults) > 0 {
		t.Errorf("claimed a record that is held: %v, %v", claimed, faults)
	}
	a.file.Close()
	claimed, faults := a.cni.leftOver()
	if len(claimed) != 1 || len(faults) > 0 {
		t.Fatalf("left over: %v, %v", claimed, faults)
	}
	got := claimed[0].record
	if !reflect.DeepEqual(got.list, a.record.list) || got.Container != a.record.Container || got.NetNS != a.record.NetNS || !reflect.DeepEqual(got.Arguments, a.record.Arguments) || !reflect.DeepEqual(got.Plugins, DefaultPluginDirs()) {
		t.Errorf("it says %+v, and was %+v", got, a.record)
	}
	if again, _ := a.cni.leftOver(); len(again) > 0 {
		t.Error("claimed it twice")
	}
	claimed[0].forget()
	if names := entries(t, a.cni.StateDir); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}

// TestRecordOfAnotherNamespace leaves alone what was done in another network namespace, as
// long as it may still be there.
func TestRecordOfAnotherNamespace(t *testing.T) {
	for _, tt := range []struct {
		change  func(h *hostNetwork)
		claimed int
	}{
		{func(*hostNetwork) {}, 1},
		{func(h *hostNetwork) { h.Namespace++ }, 0},
		{func(h *hostNetwork) { h.Namespace++; h.Boot = "another" }, 1},
	} {
		a := newRecord(t)
		tt.change(&a.record.Host)
		data, err := json.Marshal(a.record)
		if err != nil {
			t.Fatal(err)
		}
		a.file.Close()
		if err := os.WriteFile(a.path(recordSuffix), data, 0o600); err != nil {
			t.Fatal(err)
		}
		claimed, faults := a.cni.leftOver()
		if len(claimed) != tt.claimed || len(faults) > 0 {
			t.Errorf("%+v: claimed %v, %v", a.record.Host, claimed, faults)
		}
	}
}

// TestDraftIsRemoved leaves half a record, and one that nobody understands.
func TestDraftIsRemoved(t *testing.T) {
	c := newRecord(t).cni
	for name, content := range map[string]string{"clearrun-1.draft": `{"for`, "clearrun-2.json": `{"format":2}`, "other.txt": ""} {
		if err := os.WriteFile(filepath.Join(c.StateDir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	claimed, faults := c.leftOver()
	if len(claimed) > 0 || len(faults) != 1 || !strings.Contains(faults[0].Error(), "clearrun-2.json") || !strings.Contains(faults[0].Error(), "format 2") {
		t.Errorf("%v, %v", claimed, faults)
	}
	for _, name := range entries(t, c.StateDir) {
		if strings.HasSuffix(name, ".draft") {
			t.Errorf("%s is still there", name)
		}
	}
}

// TestPluginThatHangs has one that neither ends nor lets go of its output.
func TestPluginThatHangs(t *testing.T) {
	a := newRecord(t)
	defer a.forget()
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nsleep 1000 & sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := within(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := (&plugins{lock: a.file}).ExecPlugin(ctx, path, nil, nil)
	if err == nil || err.Error() != "plugin plugin was ended: it was not done in 100ms" {
		t.Error(err)
	}
	why := errors.New("somebody wants it so")
	stop, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(why)
	if _, err := (&plugins{lock: a.file}).ExecPlugin(stop, path, nil, nil); !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestPluginSays(t *testing.T) {
	a := newRecord(t)
	defer a.forget()
	for _, tt := range []struct{ script, out, err string }{
		{"cat; echo log >&2", "config", ""},
		{"env", "CNI_X=1\nLC_ALL=C\n", ""},
		{`echo '{"code": 7, "msg": "bad", "details": "very  bad"}'; exit 1`, "", "plugin p: bad; very bad"},
		{"echo one >&2; echo two >&2; exit 3", "", "plugin p: one two"},
		{"exit 3", "", "plugin p: it failed without a word (exit status 3)"},
		{"head -c 2000000 /dev/zero", "", "plugin p said more than 1048576 bytes"},
		{"sleep 1000 & echo done", "done\n", ""},
	} {
		path := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := (&plugins{lock: a.file}).ExecPlugin(t.Context(), path, []byte("config"), []string{"CNI_X=1", "SECRET=2"})
		text := ""
		if err != nil {
			text = err.Error()
		}
		if tt.script == "env" && strings.Contains(string(out), "SECRET") || !strings.Contains(string(out), strings.Split(tt.out, "\n")[0]) || text != tt.err {
			t.Errorf("%s: %.100q, %v", tt.script, out, err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	a := newRecord(f)
	data, err := os.ReadFile(a.path(recordSuffix))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1,"container":"a"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data, a.cni.StateDir, a.record.Container)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := parseRecord(again, a.cni.StateDir, a.record.Container); err != nil || other.Container != r.Container || other.list.Name != r.list.Name || len(other.list.Plugins) != len(r.list.Plugins) {
			t.Errorf("%s: %v", again, err)
		}
	})
}

// FuzzResult takes what a plugin says, none of which may become more than it is in the
// container's files.
func FuzzResult(f *testing.F) {
	f.Add([]byte(`{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/x"}, {"name": "veth"}], "ips": [{"address": "10.1.0.2/24", "interface": 0}, {"address": "10.1.0.3/24", "interface": 1}, {"address": "10.1.0.4/24", "interface": 9}], "dns": {"nameservers": ["10.1.0.1"], "search": ["a", "b"]}}`))
	f.Add([]byte(`{"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.2/24"}, "dns": {"domain": "a\nnameserver 1.2.3.4"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		given, err := create.CreateFromBytes(data)
		if err != nil {
			return
		}
		c, err := connection(given)
		if err != nil {
			return
		}
		if got, want := strings.Count(c.Hosts("app"), "\n"), 2+max(1, len(c.Addresses)); got != want {
			t.Errorf("%d lines in hosts, want %d: %q", got, want, c.Hosts("app"))
		}
		for line := range strings.Lines(c.ResolvConf("")) {
			if words := strings.Fields(line); len(words) < 2 || words[0] == "nameserver" && (len(words) != 2 || !slices.Contains(c.Resolvers, words[1])) {
				t.Errorf("resolv.conf has %q", line)
			}
		}
	})
}

func TestAddresses(t *testing.T) {
	given, err := create.CreateFromBytes([]byte(`{"cniVersion": "1.0.0", "interfaces": [{"name": "br"}, {"name": "eth0", "sandbox": "/x"}],
		"ips": [{"address": "10.1.0.1/24", "interface": 0}, {"address": "10.1.0.2/24", "interface": 1}, {"address": "10.1.0.3/24", "interface": -1}, {"address": "fd00::2/64"}], "dns": {"domain": "example.org"}}`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := connection(given)
	if err != nil || fmt.Sprint(c.Addresses) != "[10.1.0.2 fd00::2]" || fmt.Sprint(c.Search) != "[example.org]" {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzParseConfig reads files of networks: what is taken says all of itself again.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(sampleConfig))
	f.Add([]byte(`{"name": "a", "type": "bridge", "cniVersion": "0.3.1"}`))
	f.Add([]byte(`{"name": "a", "cniVersions": ["0.4.0", "1.0.0"], "plugins": [{"type": "x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseList(data, "")
		if err != nil {
			if list, err = parseSingle(data); err != nil {
				return
			}
		}
		again, err := parseList(list.Bytes, "")
		if err != nil || again.Name != list.Name || len(again.Plugins) != len(list.Plugins) || again.CNIVersion != list.CNIVersion {
			t.Errorf("%s: %v", list.Bytes, err)
		}
	})
}
