package pod_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
)

// TestPolicyHoldsSurroundings asks for networks and volumes that a rule allows, and does not.
func TestPolicyHoldsSurroundings(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"open", "secret"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(dir, "open", "link")); err != nil {
		t.Fatal(err)
	}
	volume := func(path string, readOnly bool) pod.Overrides {
		return pod.Overrides{Volumes: []pod.Volume{{Source: filepath.Join(dir, path), Target: "/v", ReadOnly: readOnly}}}
	}
	relabelled := func(o pod.Overrides) pod.Overrides {
		o.Volumes[0].Relabel = pod.RelabelShared
		return o
	}
	published := func(s string) pod.Overrides {
		p, err := pod.ParsePublication(s)
		if err != nil {
			t.Fatal(err)
		}
		return pod.Overrides{Network: "user", Publish: []pod.Publication{p}}
	}
	open := "volumes: [\"" + dir + "/open:rw\", \"" + dir + ":ro\"]"
	for _, tc := range []struct {
		name, tier, allow string
		overrides         pod.Overrides
		want              string // of the error
	}{
		{"nothing", "ns", "", pod.Overrides{}, ""},
		{"no network", "ns", "", pod.Overrides{Network: "none"}, ""},
		{"no network of the listed", "ns", "networks: [host]", pod.Overrides{Network: "none"}, ""},
		{"host network by default", "ns", "", pod.Overrides{Network: "host"}, "allows networks none, user; asked for: host"},
		{"host network", "ns", "networks: [host]", pod.Overrides{Network: "host"}, ""},
		{"CNI by default", "ns", "", pod.Overrides{Network: "cni:a"}, "asked for: cni:a"},
		{"another CNI network", "ns", "networks: [\"cni:a\"]", pod.Overrides{Network: "cni:b"}, "allows networks cni:a; asked for: cni:b"},
		{"frames of its own", "ns", "", pod.Overrides{Network: "user", CapAdd: []string{"NET_RAW"}}, "with CAP_NET_RAW the app could reach what listens on the host's loopback"},
		{"and dropped again", "ns", "", pod.Overrides{Network: "user", CapAdd: []string{"ALL"}, CapDrop: []string{"NET_RAW", "NET_ADMIN"}}, ""},
		{"frames on a shared network", "ns", "networks: [\"cni:a\"]", pod.Overrides{Network: "cni:a", CapAdd: []string{"NET_RAW"}}, ""},
		{"frames in no network", "ns", "", pod.Overrides{CapAdd: []string{"NET_RAW"}}, ""},
		{"port by default", "ns", "", published("8080:80"), ""},
		{"low port by default", "ns", "", published("80:80"), "allows published ports 1024-65535; asked for: port 80/tcp"},
		{"low port", "ns", "ports: [80]", published("80:80"), ""},
		{"no port", "ns", "ports: []", published("8080:80"), "allows no published ports; asked for: port 8080/tcp"},
		{"port of another address", "ns", "ports: [\"127.0.0.1:1-65535\"]", published("8080:80"), "allows published ports 127.0.0.1:1-65535; asked for: port 8080/tcp"},
		{"port of the address", "ns", "ports: [\"127.0.0.1:1-65535\"]", published("127.0.0.1:8080:80"), ""},
		{"tier host has the host's", "host", "", pod.Overrides{}, ""},
		{"volume by default", "ns", "", volume("open", true), "allows no volumes; asked for: " + dir + "/open:ro"},
		{"volume at tier host", "host", "", volume("open", true), "allows no volumes"},
		{"volume", "ns", open, volume("open", false), ""},
		{"read-only volume", "ns", open, volume("secret", true), ""},
		{"written", "ns", open, volume("secret", false), "asked for: " + dir + "/secret:rw"},
		{"relabelled", "ns", open, relabelled(volume("open", true)), ""},
		{"relabelled, though read-only", "ns", open, relabelled(volume("secret", true)), "asked for: " + dir + "/secret:rw, since z changes the labels"},
		{"written by a link", "ns", open, volume("open/link", false), "asked for: " + dir + "/secret:rw"},
		{"written by dots", "ns", open, volume("open/../secret", false), "asked for: " + dir + "/secret:rw"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t)
			data := acitest.Tar(t, acitest.Manifest("example.com/app", appJSON), acitest.Dir("rootfs"))
			h.write("app.aci", data)
			h.sign("app.aci.asc", data)
			rule := "require: {signers: keyring}\n  tiers: [" + tc.tier + "]"
			if tc.allow != "" {
				rule += "\n  allow: {" + tc.allow + "}"
			}
			o := h.options()
			o.Policy, o.Overrides = policy(t, rule), tc.overrides
			e, err := pod.Check(context.Background(), o)
			if err != nil || e.Allowed != (tc.want == "") || !e.Allowed && !strings.Contains(e.Decision, tc.want) {
				t.Errorf("Check: %+v, %v", e, err)
			}
			if tc.want != "" {
				h.refuse(o, tc.want)
				return
			}
			h.open(o)
		})
	}
}
