package pod_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
)

// policy parses one rule for every image.
func policy(t *testing.T, rule string) *trust.Policy {
	t.Helper()
	p, err := trust.ParsePolicy("policy.yaml", []byte("rules:\n- name: one\n  match: {name: \"**\"}\n  "+rule+"\n"), pod.Vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPolicyAppliesToEveryRun(t *testing.T) {
	h := newHost(t)
	h.image("example.com/app", "one")
	o := h.options()
	for range 2 { // rendered, then from the store
		o.Policy = policy(t, "require: {signers: keyring}")
		if p := h.open(o); !strings.Contains(p.Verdict.How(), `rule "one" (policy.yaml:2)`) {
			t.Errorf("How: %s", p.Verdict.How())
		}
	}
	o.Policy = policy(t, "deny: true")
	h.refuse(o, `denied by rule "one"`)
	o.Policy = policy(t, "require: {signers: keyring, minVersion: 1.0.0}")
	h.refuse(o, "requires version 1.0.0 or later")
	o.Policy, o.InsecureNoVerify = policy(t, "require: {signers: keyring}"), true
	h.refuse(o, "does not allow it")
	o.Policy = policy(t, "require: {signers: keyring}\n  allow: {insecure: true}")
	h.open(o)
	o.Policy = &trust.Policy{}
	h.refuse(o, "no rule of the policy")
}

func TestUnsignedByPolicy(t *testing.T) {
	h := newHost(t)
	h.image("example.com/app", "one")
	if err := os.Remove(h.path("app.aci.asc")); err != nil {
		t.Fatal(err)
	}
	o := h.options()
	o.Policy = policy(t, "require: {none: true}")
	if p := h.open(o); !p.Verdict.Signer().IsZero() || !strings.Contains(p.Verdict.How(), "not signed by anyone trusted") {
		t.Errorf("How: %s", p.Verdict.How())
	}
	o.SignaturePath = h.path("absent") // named, so it must be there
	h.refuse(o, "absent")
	o = h.options()
	h.refuse(o, "is not signed") // what ran once is not trusted for it
}

func TestPolicyLimits(t *testing.T) {
	const caps = `{"exec":["/a"],"user":"0","group":"0","isolators":[
		{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_NET_ADMIN","CAP_KILL"]}}]}`
	const memory = `{"exec":["/a"],"user":"0","group":"0","isolators":[{"name":"resource/memory","value":{"limit":"1Gi"}}]}`
	for _, tc := range []struct {
		name, app, allow string
		overrides        pod.Overrides
		want             string // of the error
		caps             string // in the Pod
		memory           uint64
	}{
		{"defaults are cut", appJSON, "capabilities: [KILL, NET_ADMIN], maxMemory: 128M, maxCPUs: 1", pod.Overrides{}, "", "CAP_KILL", 128 << 20},
		{"defaults that fit", appJSON, "maxMemory: 1G", pod.Overrides{}, "", pod.DefaultCapabilities().String(), 0},
		{"none at all", appJSON, "capabilities: []", pod.Overrides{}, "", "", 0},
		{"the image asks for too much", caps, "capabilities: [KILL]", pod.Overrides{}, "asked for: CAP_NET_ADMIN", "", 0},
		{"dropped again", caps, "capabilities: [KILL]", pod.Overrides{CapDrop: []string{"NET_ADMIN"}}, "", "CAP_KILL", 0},
		{"the image may", caps, "capabilities: [KILL, NET_ADMIN]", pod.Overrides{}, "", "CAP_KILL,CAP_NET_ADMIN", 0},
		{"the user asks for too much", appJSON, "capabilities: [KILL]", pod.Overrides{CapAdd: []string{"CHOWN"}}, "asked for: CAP_CHOWN", "", 0},
		{"ALL", appJSON, "capabilities: [KILL]", pod.Overrides{CapAdd: []string{"ALL"}}, "asked for: ", "", 0},
		{"the image's memory", memory, "maxMemory: 512M", pod.Overrides{}, "allows memory 512M; asked for: 1G", "", 0},
		{"less is asked for", memory, "maxMemory: 512M, capabilities: []", pod.Overrides{MemoryBytes: 512 << 20}, "", "", 512 << 20},
		{"the user's memory", appJSON, "maxMemory: 512M", pod.Overrides{MemoryBytes: 512<<20 + 1}, "asked for: 536870913B", "", 0},
		{"CPUs", appJSON, "maxCPUs: 2", pod.Overrides{CPUs: 3}, "allows 2 CPUs; asked for: 3", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t)
			data := acitest.Tar(t, acitest.Manifest("example.com/app", tc.app), acitest.Dir("rootfs"))
			h.write("app.aci", data)
			h.sign("app.aci.asc", data)
			o := h.options()
			o.Policy, o.Overrides = policy(t, "require: {signers: keyring}\n  allow: {"+tc.allow+"}"), tc.overrides
			e, err := pod.Check(context.Background(), o)
			if err != nil || e.Allowed != (tc.want == "") || !e.Allowed && !strings.Contains(e.Decision, tc.want) {
				t.Errorf("Check: %+v, %v", e, err)
			}
			if tc.want != "" {
				h.refuse(o, tc.want)
				return
			}
			if p := h.open(o); p.App.Capabilities.String() != tc.caps || p.Resources.MemoryBytes != tc.memory {
				t.Errorf("capabilities %s, memory %d", p.App.Capabilities, p.Resources.MemoryBytes)
			}
		})
	}
}

// TestCheckExplains looks at images that may not run, and keeps nothing of them.
func TestCheckExplains(t *testing.T) {
	h := newHost(t)
	h.image("example.org/app", "one") // by somebody who is trusted for example.com
	o := h.options()
	e, err := pod.Check(context.Background(), o)
	if err != nil || e.Allowed || e.Image != "example.org/app" || e.Rule != "no policy file" ||
		!strings.Contains(e.Decision, "trusted only for example.com") {
		t.Errorf("without a policy: %+v, %v", e, err)
	}
	o.Policy = policy(t, "require: {signers: keyring}\n  tiers: [vm, ns]")
	e, err = pod.Check(context.Background(), o)
	if err != nil || e.Allowed || len(e.Rules) != 1 || !e.Rules[0].Matches || len(e.Findings) != 2 || !e.Findings[0].OK || e.Findings[1].OK {
		t.Errorf("with a policy: %+v, %v", e, err)
	}
	o.InsecureNoVerify, o.Keyring = true, nil
	if e, err = pod.Check(context.Background(), o); err != nil || e.Allowed {
		t.Errorf("insecure: %+v, %v", e, err)
	}
	o.Policy = nil
	if e, err = pod.Check(context.Background(), o); err != nil || !e.Allowed || e.Tier != "vm" {
		t.Errorf("insecure without a policy: %+v, %v", e, err)
	}
	if got := h.images(); len(got) > 0 {
		t.Errorf("stored: %v", got)
	}
}
