package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/trust"
	"github.com/clearrun/clearrun/vmrun"
)

// output runs clearrun and returns what it printed.
func output(t *testing.T, args ...string) (int, string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code := run(args, stdio{f, f, f})
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(text)
}

func TestPolicyCommand(t *testing.T) {
	dir := t.TempDir()
	file, img := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "app.aci")
	data := acitest.Tar(t, acitest.Manifest("example.com/app", `{"exec":["/a"],"user":"0","group":"0"}`), acitest.Dir("rootfs"))
	if err := os.WriteFile(img, data, 0o644); err != nil {
		t.Fatal(err)
	}
	const first = "rules:\n- name: other\n  match: {name: example.org/*}\n  deny: true\n- name: ours\n  match: {name: example.com/*}\n"
	for _, tc := range []struct {
		policy string
		args   []string
		code   int
		want   []string
	}{
		{first + "  require: {none: true}\n", []string{"lint"}, 0, []string{"no mistakes"}},
		{first + "  colour: red\n", []string{"lint"}, 1, []string{file + ":7:3: rule: unknown field \"colour\""}},
		{first + "  colour: red\n", []string{"check", img}, 125, []string{file + ":7:3:"}},
		{first + "  colour: red\n", []string{"lint", file}, 1, []string{":7:3:"}},
		{first, []string{"lint", filepath.Join(dir, "absent")}, 125, []string{"absent"}},
		{first + "  require: {none: true}\n", []string{"check", img}, 0, []string{
			`rule "other" (line 2) does not match: name example.com/app does not fit example.org/*`, `rule "ours" (line 5) matches`, "ALLOWED at tier vm",
		}},
		{first + "  require: {signers: keyring}\n", []string{"check", img}, 1, []string{"requires: a signature of any key", "found:    no signature", "REFUSED"}},
		{first + "  require: {signers: keyring}\n", []string{"check", "--insecure-no-verify", img}, 1, []string{"does not allow it"}},
		{first + "  require: {none: true}\n", []string{"check", "--signature", filepath.Join(dir, "absent"), img}, 125, []string{"absent"}},
		{first + "  require: {none: true}\n", []string{"check", img}, 0, []string{"allows: networks none, user; published ports 1024-65535; no volumes\n"}},
		{first + "  require: {none: true}\n  tiers: [ns]\n", []string{"check", "--network", "host", img}, 1, []string{"no  requires: at most networks none, user\n", "REFUSED"}},
		{first + "  require: {none: true}\n  tiers: [ns]\n", []string{"check", "-v", "/:/host:ro", img}, 1, []string{"allows no volumes; asked for: /:ro"}},
		{
			first + "  require: {none: true}\n  tiers: [ns]\n  allow: {networks: [host], volumes: [\"/srv:ro\"], capabilities: [KILL], maxMemory: 1G, maxCPUs: 2, insecure: true, plainHTTP: true}\n",
			[]string{"check", img},
			0,
			[]string{"allows: networks host; published ports 1024-65535; volumes /srv:ro; capabilities [KILL]; memory 1G; 2 CPUs; --insecure-no-verify; --plain-http\n"},
		},
		{
			first + "  require: {none: true}\n  tiers: [ns]\n  allow: {networks: [host], volumes: [\"/srv:ro\"]}\n",
			[]string{"check", "--json", img},
			0,
			[]string{`"networks": [`, `"/srv:ro"`, `"insecure": false`, `"capabilities": null`},
		},
		{
			"measurement: {tpm: optional, device: /dev/absent}\n" + first + "  require: {none: true}\n",
			[]string{"check", img},
			0,
			[]string{"  measured: into PCR 15 of /dev/absent (optional)\n", "ALLOWED"},
		},
		{
			"measurement: {tpm: required, pcr: 16, device: /dev/absent}\n" + first + "  require: {none: true}\n",
			[]string{"check", img},
			1,
			[]string{"no  requires: measurement into PCR 16 of /dev/absent\n", "measured: into PCR 16", "REFUSED: ", "make /dev/absent usable for you"},
		},
		{
			"measurement: {tpm: optional, device: /dev/absent}\n" + first + "  require: {none: true}\n",
			[]string{"check", "--json", img},
			0,
			[]string{`"measurement": {`, `"tpm": "optional"`, `"pcr": 15`, `"device": "/dev/absent"`},
		},
		{first + "  require: {none: true}\n", []string{"check"}, 125, []string{"want one image"}},
		{first + "  require: {none: true}\n", []string{"approve"}, 125, []string{"unknown command"}},
	} {
		if err := os.WriteFile(file, []byte(tc.policy), 0o644); err != nil {
			t.Fatal(err)
		}
		code, out := output(t, append([]string{"--config-dir", dir, "policy"}, tc.args...)...)
		if code != tc.code {
			t.Errorf("policy %q: exit code %d, want %d: %s", tc.args, code, tc.code, out)
		}
		for _, w := range tc.want {
			if !strings.Contains(out, w) {
				t.Errorf("policy %q: no %q in\n%s", tc.args, w, out)
			}
		}
	}
	absent := filepath.Join(dir, "store")
	code, out := output(t, "--config-dir", dir, "--store", absent, "policy", "check", "--json", img)
	if _, err := os.Stat(absent); err == nil {
		t.Error("an explanation has made a store")
	}
	var e trust.Explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != 0 || !e.Allowed || e.Rule != "ours" || e.Policy != file {
		t.Errorf("JSON, exit code %d, %v: %s", code, err, out)
	}
}

// TestDependenciesArePrinted is about the words; what is in them, package pod finds out.
func TestDependenciesArePrinted(t *testing.T) {
	var out bytes.Buffer
	below := trust.Explanation{Image: "example.com/libc", Decision: "denied by rule \"libc\""}
	printExplanation(&out, trust.Explanation{Image: "example.com/app", Dependencies: []trust.Explanation{
		{Image: "example.com/base", Decision: "no signature required", Allowed: true, Dependencies: []trust.Explanation{below}},
	}})
	const want = "  yes depends on: example.com/base: no signature required\n    no  depends on: example.com/libc: denied by rule \"libc\"\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
}

// TestRunAsksThePolicy opens an image as a run does.
func TestRunAsksThePolicy(t *testing.T) {
	dir := t.TempDir()
	img := filepath.Join(dir, "app.aci")
	data := acitest.Tar(t, acitest.Manifest("example.com/app", `{"exec":["/a"],"user":"0","group":"0"}`), acitest.Dir("rootfs"))
	if err := os.WriteFile(img, data, 0o644); err != nil {
		t.Fatal(err)
	}
	o := &runOptions{globals: globals{storeDir: filepath.Join(dir, "store"), configDir: dir}, insecure: true}
	for _, tc := range []struct{ rule, want string }{
		{"deny: true", "denied by rule"},
		{"require: {signers: keyring}", "does not allow it"},
		{"require: {signers: keyring}\n  allow: {insecure: true}", ""},
		{"colour: red", "unknown field"},
	} {
		text := "rules:\n- name: one\n  match: {name: example.com/*}\n  " + tc.rule + "\n"
		if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := o.open(context.Background(), img, pod.Overrides{}, devNull(t))
		if tc.want == "" && err == nil {
			p.Close()
			continue
		}
		if err == nil || tc.want == "" || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.rule, err, tc.want)
		}
	}
}

// TestDefaultMemory holds what policies compare with against what runs get.
func TestDefaultMemory(t *testing.T) {
	if pod.DefaultMemoryBytes != vmrun.DefaultMemory {
		t.Errorf("pod: %d, vmrun: %d", pod.DefaultMemoryBytes, vmrun.DefaultMemory)
	}
}
