package houserules

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// mayImport lists which packages of this repository each one may import: a new edge
// is a decision, taken here. "x/..." stands for x and all below it; as a key, for
// those that have no entry of their own. Imports go down only: no package may
// appear to the right of one that it imports itself, at any distance.
var mayImport = map[string][]string{
	// Programs.
	"cmd/clearrun":         {"vmrun/...", "hostrun", "hostrun/label", "hostrun/network", "attach", "pod", "trust/...", "image/...", "vmm/launch", "vmm/kvm"},
	"cmd/clearrun-monitor": {"vmm/...", "virtio/..."},
	"guest/init":           {"guest/proto"},

	// The vm tier. It knows the monitor by its launch contract alone.
	"vmrun":         {"vmrun/bundle", "hostrun/label", "attach", "pod", "trust", "guest/proto", "vmm/launch"},
	"vmrun/bundle":  {},
	"vmrun/profile": {"vmm/launch"},
	"vmrun/bzimage": {},
	"vmrun/bootlab": {"vmm/launch", "vmrun/bzimage"},

	// Tiers ns and host.
	"hostrun":                     {"hostrun/label", "hostrun/network", "hostrun/slots", "hostrun/seccomp", "vmrun/bundle", "attach", "pod", "trust", "image/rootfs", "guest/proto"},
	"hostrun/label":               {"hostrun/slots"},
	"hostrun/network":             {},
	"hostrun/network/networktest": {},
	"hostrun/slots":               {},
	"hostrun/seccomp":             {},
	"hostrun/probe":               {},

	// What all tiers do alike.
	"attach": {"pod", "guest/proto"},

	// What to run, and whether it may.
	"pod":   {"trust", "image/...", "hostrun/label", "hostrun/seccomp"},
	"trust": {"image", "trust/pcr"},
	// The TPM, which knows nothing of what is measured.
	"trust/tpm": {"trust/pcr"},
	"trust/pcr": {},

	// Images.
	"image/aci":          {"image", "image/spool", "image/compression"},
	"image/store":        {"image", "image/rootfs"},
	"image/rootfs":       {"image", "image/erofs"},
	"image/erofs":        {},
	"image/registry":     {"image", "image/oci", "image/ref"},
	"image/registrytest": {},
	"image/discovery":    {"image"},
	"image/ocitest":      {},
	"image/acitest":      {},
	"image/spool":        {},
	"image/ref":          {"image"},
	"image/compression":  {"image"},
	"image/oci":          {"image", "image/ref", "image/compression", "image/spool"},
	"image":              {},

	// The machine and its devices.
	"vmm":               {"vmm/...", "virtio"},
	"vmm/boot":          {"vmm/guestmem"},
	"vmm/...":           {},
	"virtio/virtiotest": {"virtio", "vmm/guestmem"},
	"virtio":            {"vmm/guestmem"},
	"virtio/...":        {"virtio"},

	// What both ends of a VM say to each other.
	"guest/proto": {},

	// Steps of the build, and tests of the whole.
	"hack/bundle":          {"vmrun/bundle"},
	"hack/seccomp-profile": {"pod"},
	"hack/bench":           {"vmrun/...", "vmm/launch"},
	"hack/...":             {},
	"test/...":             {"..."},
}

// matches reports whether pkg is what pattern stands for.
func matches(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	dir, tree := strings.CutSuffix(pattern, "/...")
	return pkg == dir || tree && strings.HasPrefix(pkg, dir+"/")
}

// allowed gives the entry of mayImport for pkg.
func allowed(pkg string) (imports []string, ok bool) {
	if imports, ok = mayImport[pkg]; ok {
		return imports, true
	}
	for dir := path.Dir(pkg); dir != "."; dir = path.Dir(dir) {
		if imports, ok = mayImport[dir+"/..."]; ok {
			return imports, true
		}
	}
	return nil, false
}

// ours gives the packages of this repository among the imports, from the root.
func (s source) ours() []string {
	var pkgs []string
	for _, p := range s.imports() {
		if pkg, ok := strings.CutPrefix(p, module); ok {
			pkgs = append(pkgs, pkg)
		}
	}
	return pkgs
}

// checkImports applies mayImport. A test may take parts from anywhere.
func checkImports(s source) (faults []fault) {
	if s.isTest() {
		return nil
	}
	list, ok := allowed(s.dir())
	if !ok {
		return []fault{{1, "package " + s.dir() + " has no entry in mayImport (hack/houserules)"}}
	}
	for _, pkg := range s.ours() {
		if !slices.ContainsFunc(list, func(p string) bool { return matches(p, pkg) }) {
			faults = append(faults, fault{1, s.dir() + " may not import " + pkg})
		}
	}
	return faults
}

// neverReach lists what must not be in a program or package at all, not even
// through others.
var neverReach = []struct {
	pkgs, banned []string
	why          string
}{
	{
		[]string{"./vmm/...", "./virtio/...", "./guest/..."},
		[]string{module + "image/...", module + "trust/...", module + "pod/...", module + "attach/...", module + "vmrun/..."},
		"a machine knows nothing of images and trust",
	},
	{
		[]string{"./cmd/clearrun-monitor"},
		[]string{"net/http", "crypto/tls", "os/exec", "archive/tar", module + "image/...", module + "trust/...", module + "pod/..."},
		"the monitor speaks to no network, parses no images and starts nothing",
	},
	{
		[]string{"./guest/init"},
		[]string{"os", "fmt", "net", "encoding/json"},
		"the guest's kernel copies every page of PID 1 at each start",
	},
	{
		[]string{"./image/..."},
		[]string{module + "trust/...", module + "pod/..."},
		"a reader of images neither decides nor runs",
	},
	{
		[]string{"./image/aci", "./image/oci", "./image/rootfs", "./image/store", "./trust"},
		[]string{"net/http"},
		"image/registry alone speaks to a network",
	},
}

func TestNeverReach(t *testing.T) {
	for _, rule := range neverReach {
		args := append([]string{"list", "-deps", "-f", "{{.ImportPath}}"}, rule.pkgs...)
		cmd := exec.Command("go", args...)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list %v: %v", rule.pkgs, err)
		}
		deps := strings.Fields(string(out))
		if len(deps) < 10 {
			t.Fatalf("go list %v gave only %q", rule.pkgs, deps)
		}
		for _, dep := range deps {
			if slices.ContainsFunc(rule.banned, func(p string) bool { return matches(p, dep) }) {
				t.Errorf("%v: reaches %s, but %s", rule.pkgs, dep, rule.why)
			}
		}
	}
}

// TestNoCycleInTable makes sure that mayImport itself goes down only.
func TestNoCycleInTable(t *testing.T) {
	above := map[string]bool{} // packages on the way down to the current one
	var walk func(pkg string)
	walk = func(pkg string) {
		if above[pkg] {
			t.Fatalf("mayImport lets %s import itself through others", pkg)
		}
		above[pkg] = true
		defer delete(above, pkg)
		list, _ := allowed(pkg)
		for _, pattern := range list {
			for key := range mayImport {
				if matches(pattern, key) && key != pkg && !strings.HasSuffix(key, "...") {
					walk(key)
				}
			}
		}
	}
	for key := range mayImport {
		if !strings.HasSuffix(key, "...") {
			walk(key)
		}
	}
}
