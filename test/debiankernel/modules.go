package debiankernel

import (
	"cmp"
	"debug/elf"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

// Kernel is the name of one that hack/debian-kernel.sh has put below build. The zero value is Release.
type Kernel string

// Release is the kernel of Debian's release, Linux 6.1; Newer is the one that it has beside that.
const (
	Release Kernel = "debian-kernel"
	Newer   Kernel = "debian-kernel-6.12"
)

// file is the path of one of its files.
func (k Kernel) file(name string) string { return Build + string(cmp.Or(k, Release)) + "/" + name }

func (k Kernel) modulePath(name string) string { return k.file("modules/" + name + ".ko") }

func (k Kernel) module(t *testing.T, name string) cpio.Record {
	return cpio.StaticFile("modules/"+name+".ko", Read(t, k.modulePath(name)), 0o644)
}

// closure lists the modules and all that they depend on, in an order that they can be
// loaded in.
func (k Kernel) closure(t *testing.T, names []string) (order []string) {
	t.Helper()
	var visit func(string)
	visit = func(name string) {
		if slices.Contains(order, name) {
			return
		}
		for _, below := range k.depends(t, name) {
			visit(below)
		}
		order = append(order, name)
	}
	for _, name := range names {
		visit(name)
	}
	return order
}

// depends reads what the module itself says (section .modinfo: NUL-terminated key=value).
func (k Kernel) depends(t *testing.T, name string) []string {
	t.Helper()
	f, err := elf.Open(k.modulePath(name))
	if err != nil {
		t.Fatalf("module %s: %v", name, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		t.Fatalf("module %s has no .modinfo", name)
	}
	info, err := section.Data()
	if err != nil {
		t.Fatalf("module %s: %v", name, err)
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}
