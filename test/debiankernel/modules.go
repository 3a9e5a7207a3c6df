package debiankernel

import (
	"debug/elf"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

func modulePath(name string) string { return Build + "debian-kernel/modules/" + name + ".ko" }

func module(t *testing.T, name string) cpio.Record {
	return cpio.StaticFile("modules/"+name+".ko", Read(t, modulePath(name)), 0o644)
}

// closure lists the modules and all that they depend on, in an order that they can be
// loaded in.
func closure(t *testing.T, names []string) (order []string) {
	t.Helper()
	var visit func(string)
	visit = func(name string) {
		if slices.Contains(order, name) {
			return
		}
		for _, below := range depends(t, name) {
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
func depends(t *testing.T, name string) []string {
	t.Helper()
	f, err := elf.Open(modulePath(name))
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
