package vm

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// kvmNode is /dev/kvm as it should be, for root alone.
var kvmNode = node{"kvm", 10, 232, 0o600}

// TestHostLacksKVM runs images on hosts without a usable /dev/kvm.
func TestHostLacksKVM(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		stage stage
		says  []string // by run
		finds string   // by doctor
	}{
		"absent": {
			stage{Dev: []node{null}},
			[]string{"tier vm needs /dev/kvm, which does not exist", "clearrun doctor", "kvm_pvm"},
			"/dev/kvm does not exist",
		},
		"no permission": {
			stage{Dev: []node{null, kvmNode}, Nobody: true},
			[]string{"no permission to open /dev/kvm", "usermod -aG kvm"},
			"no permission to open /dev/kvm",
		},
		"another device": {
			stage{Dev: []node{null, {"kvm", 1, 3, 0o666}}},
			[]string{"/dev/kvm is another device than KVM's", "load the KVM module again"},
			"/dev/kvm is another device than KVM's",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := fresh(t)
			if c.stage.Nobody {
				p = nobodysPlace(t)
			}
			cmd := c.stage.on(t, clearrun(t, p, "--insecure-no-verify", shared.probe))
			r := runCmd(t, cmd)
			r.complains(t, exitFailure, c.says...)

			r = runCmd(t, c.stage.on(t, clearrun(t, p, "doctor")))
			r.check(t, 1)
			for _, start := range []string{"LACK  KVM ", "LACK  tier vm "} {
				_, rest, found := strings.Cut("\n"+r.stdout, "\n"+start)
				line, rest, _ := strings.Cut(rest, "\n")
				if !found || !strings.Contains(line, c.finds) || !strings.HasPrefix(strings.TrimSpace(rest), "-> ") {
					t.Errorf("doctor does not say under %q that %s, with a remedy:\n%v", start, c.finds, r)
				}
			}
		})
	}
}

// finding is one of doctor's.
type finding struct {
	Name   string
	OK     bool
	Value  string
	Remedy string
}

func TestDoctor(t *testing.T) {
	needVM(t)
	r := run(t, shared.place, "doctor")
	r.check(t, 0)
	j := run(t, shared.place, "doctor", "--json")
	j.check(t, 0)
	var findings []finding
	if err := json.Unmarshal([]byte(j.stdout), &findings); err != nil {
		t.Fatalf("%v\n%v", err, j)
	}
	byName := map[string]finding{}
	for _, f := range findings {
		byName[f.Name] = f
		if !strings.Contains(r.stdout, f.Value) {
			t.Errorf("the text lacks %q:\n%s", f.Value, r.stdout)
		}
		if !f.OK && f.Remedy == "" {
			t.Errorf("%s: no remedy for %q", f.Name, f.Value)
		}
	}
	release, err := exec.Command("uname", "-r").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"kernel": "Linux " + strings.TrimSpace(string(release)), "guest": "kernel sha256:", "KVM": "vCPUs",
		"SELinux": "", "cgroups": "", "tier vm": "ready",
	} {
		if f, ok := byName[name]; !ok || !f.OK || !strings.Contains(f.Value, value) {
			t.Errorf("%s: %+v, want %q", name, f, value)
		}
	}
	// It needs what tier ns does.
	if f, ns := byName["tier host"], byName["tier ns"]; f.Value == "" || f.OK != ns.OK {
		t.Errorf("tier host: %+v, tier ns: %+v, want the same", f, ns)
	}
}
