package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
)

// TestAnnounceTier opens an image as a run does, and looks at what is said of the tier: a word
// where it is less than a VM and nobody asked for that, nothing otherwise.
func TestAnnounceTier(t *testing.T) {
	dir := t.TempDir()
	img := filepath.Join(dir, "app.aci")
	data := acitest.Tar(t, acitest.Manifest("example.com/app", `{"exec":["/a"],"user":"0","group":"0"}`), acitest.Dir("rootfs"))
	if err := os.WriteFile(img, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ tiers, option, want string }{
		{"tiers: [vm, ns]", "--memory=64M", `clearrun: tier ns, the least that rule "one" allows`},
		{"minTier: ns", "--memory=64M", `clearrun: tier ns, `},
		{"tiers: [host]", "--memory=64M", `clearrun: tier host, `},
		{"tiers: [vm, ns]", "--ns", ""},
		{"tiers: [vm, ns]", "--vm", ""},
		{"minTier: vm", "--memory=64M", ""},
		{"tiers: [vm]", "--memory=64M", ""},
	} {
		text := "rules:\n- name: one\n  match: {name: example.com/*}\n  require: {none: true}\n  " + tc.tiers + "\n"
		if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		o := &runOptions{globals: globals{storeDir: filepath.Join(dir, "store"), configDir: dir}}
		if err := o.flags(devNull(t)).Parse([]string{tc.option}); err != nil {
			t.Fatal(err)
		}
		p, err := o.open(context.Background(), img, pod.Overrides{}, devNull(t))
		if err != nil {
			t.Fatalf("%s, %s: %v", tc.tiers, tc.option, err)
		}
		var said bytes.Buffer
		o.announceTier(p.Verdict, &said)
		p.Close()
		if got := said.String(); !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") || strings.Count(got, "\n") > 1 {
			t.Errorf("%s, %s: said %q, want %q", tc.tiers, tc.option, got, tc.want)
		}
	}
}
