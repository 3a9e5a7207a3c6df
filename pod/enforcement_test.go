package pod_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/pod"
)

func TestEnforcement(t *testing.T) {
	h := newHost(t)
	const memory, cpu, privs, retain, score = "resource/memory", "resource/cpu", "os/linux/no-new-privileges",
		"os/linux/capabilities-retain-set", "os/linux/oom-score-adj"
	for _, tc := range []struct {
		name      string
		overrides pod.Overrides
		want      map[string]pod.EnforcementState
	}{
		{"as the image says", pod.Overrides{}, map[string]pod.EnforcementState{
			memory: pod.Enforced, cpu: pod.Adjusted, privs: pod.Enforced, retain: pod.Enforced, score: pod.Unenforced,
		}},
		{"as the user says", pod.Overrides{MemoryBytes: 1 << 30, CPUs: 2, CapAdd: []string{"CHOWN"}}, map[string]pod.EnforcementState{
			memory: pod.Adjusted, cpu: pod.Adjusted, privs: pod.Enforced, retain: pod.Adjusted, score: pod.Unenforced,
		}},
	} {
		p, err := build(t, h, fullApp, tc.overrides)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Enforcement) != len(tc.want) {
			t.Errorf("%s: %+v", tc.name, p.Enforcement)
		}
		for _, e := range p.Enforcement {
			if e.State != tc.want[e.Name] || e.Detail == "" {
				t.Errorf("%s: %+v, want %s", tc.name, e, tc.want[e.Name])
			}
		}
	}
	p, err := build(t, h, fullApp, pod.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(p.Enforcement, func(e pod.Enforcement) bool { return e.Name == memory }); p.Enforcement[i].Detail != "limit 512M" {
		t.Errorf("%+v", p.Enforcement[i])
	}
}

func TestStrict(t *testing.T) {
	h := newHost(t)
	if _, err := build(t, h, fullApp, pod.Overrides{Strict: true}); err == nil || !strings.Contains(err.Error(), "os/linux/oom-score-adj") || !strings.Contains(err.Error(), "--strict") {
		t.Errorf("an isolator that is not enforced: %v", err)
	}
	without := strings.Replace(fullApp, `,
	{"name":"os/linux/oom-score-adj","value":100}`, "", 1)
	if without == fullApp {
		t.Fatal("the image's app has changed")
	}
	if _, err := build(t, h, without, pod.Overrides{Strict: true}); err != nil {
		t.Error(err)
	}
}
