package pod

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/trust"
)

func TestParseVolume(t *testing.T) {
	for s, want := range map[string]Volume{
		"/a:/b":          {Source: "/a", Target: "/b"},
		"/a:/b/../c/:ro": {Source: "/a", Target: "/c", ReadOnly: true},
		"rel:/b:rw":      {Source: "rel", Target: "/b"},
		"/a:/b:z":        {Source: "/a", Target: "/b", Relabel: RelabelShared},
		"/a:/b:ro,Z":     {Source: "/a", Target: "/b", ReadOnly: true, Relabel: RelabelPrivate},
		"/a:/b:z,rw":     {Source: "/a", Target: "/b", Relabel: RelabelShared},
	} {
		if got, err := ParseVolume(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", s, got, err, want)
		}
	}
	for s, word := range map[string]string{
		"/a": "want HOST-DIR", "/a:/b:ro:x": "want HOST-DIR", "/a:b": "absolute", "/a:/": "root", "/a:/b/..": "root",
		":/b": "no directory", "/a:/b:rx": "ro or rw", "/a:/b:z,Z": "z or Z", "/a:/b:ro,rw": "ro or rw", "/a:/b:": "ro or rw", "/a:/b:ro,": "ro or rw", "/a:/b\x00": "NUL",
	} {
		if _, err := ParseVolume(s); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want %q in it", s, err, word)
		}
	}
}

func TestVolumesAreResolved(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	link := Volume{Source: dir + "/link", Target: "/x/y"}
	got, err := resolveVolumes([]Volume{link, {Source: dir, Target: "/x"}}, trust.TierNS)
	want := []Volume{{Source: dir, Target: "/x"}, {Source: dir + "/real", Target: "/x/y"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for word, volumes := range map[string][]Volume{
		"another one": {link, link}, "no such file": {{Source: dir + "/none", Target: "/x"}},
	} {
		if _, err := resolveVolumes(volumes, trust.TierNS); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v: %v, want %q in it", volumes, err, word)
		}
	}
	if _, err := resolveVolumes([]Volume{{Source: dir, Target: "/x", Relabel: RelabelShared}}, trust.TierHost); err == nil || !strings.Contains(err.Error(), "leave out z") {
		t.Errorf("relabelled at tier host: %v", err)
	}
	if _, err := resolveVolumes([]Volume{link}, trust.TierVM); err == nil || !strings.Contains(err.Error(), "--ns") {
		t.Errorf("in a VM: %v", err)
	}
}

func TestNetworks(t *testing.T) {
	for _, tt := range []struct {
		asked string
		tier  trust.Tier
		want  Network
		err   string
	}{
		{"", trust.TierVM, NetworkNone, ""},
		{"none", trust.TierVM, NetworkNone, ""},
		{"host", trust.TierVM, "", "--ns"},
		{"", trust.TierNS, NetworkNone, ""},
		{"user", trust.TierNS, NetworkUser, ""},
		{"cni:my_net.1", trust.TierNS, "cni:my_net.1", ""},
		{"cni:", trust.TierNS, "", "cni:NAME"},
		{"cni:../x", trust.TierNS, "", "cni:NAME"},
		{"bridge", trust.TierNS, "", "cni:NAME"},
		{"", trust.TierHost, NetworkHost, ""},
		{"host", trust.TierHost, NetworkHost, ""},
		{"none", trust.TierHost, "", "--ns"},
	} {
		got, err := chooseNetwork(tt.asked, tt.tier)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q at %v: %q, %v; want %q, %q", tt.asked, tt.tier, got, err, tt.want, tt.err)
		}
	}
}

// TestSharingNeedsARule asks for what the rule of an image does not allow.
func TestSharingNeedsARule(t *testing.T) {
	dir := t.TempDir()
	p := &Pod{Network: NetworkHost, Volumes: []Volume{{Source: dir, Target: "/x"}}}
	var limits trust.Limits
	if err := p.restrict(limits, Overrides{}); err == nil || !strings.Contains(err.Error(), "host") {
		t.Errorf("the host's network: %v", err)
	}
	p.Network = NetworkNone
	if err := p.restrict(limits, Overrides{}); err == nil || !strings.Contains(err.Error(), "no volumes") {
		t.Errorf("a volume: %v", err)
	}
	p.Volumes = nil
	if err := p.restrict(limits, Overrides{}); err != nil {
		t.Errorf("neither: %v", err)
	}
}
