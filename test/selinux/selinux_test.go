package selinux

import (
	"regexp"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/clearrun/clearrun/test/debiankernel"
)

// TestContainersAreApart boots the machine. What happens in it is in guest/checks.go; that
// it was SELinux which kept A from B and the host, the kernel's audit messages must say.
func TestContainersAreApart(t *testing.T) {
	debiankernel.Need(t, "selinux/key")
	vm := debiankernel.Machine{
		Guest:   "./guest",
		Modules: []string{"erofs", "overlay", "loop"},
		Files:   []cpio.Record{cpio.StaticFile("policy", debiankernel.Read(t, debiankernel.Build+"selinux/policy"), 0o644)},
		Append:  "security=selinux selinux=1 audit=1 audit_backlog_limit=8192",
	}.Run(t)
	vm.Want(t, 11)
	a, b := label(t, vm.Said, "A"), label(t, vm.Said, "B")
	file := strings.Replace(b, "system_r:container_t", "object_r:container_file_t", 1)
	for _, denial := range []string{
		`\{ search \} .* scontext=` + a + ` tcontext=` + file + ` tclass=dir permissive=0`,
		`\{ search \} .* scontext=` + a + ` tcontext=\S+:user_tmpfs_t:s0 tclass=dir permissive=0`,
		`\{ sigkill \} .* scontext=` + a + ` tcontext=` + b + ` tclass=process permissive=0`,
		`\{ sigkill \} .* scontext=` + a + ` tcontext=` + b + ` tclass=process permissive=1`,
	} {
		if !regexp.MustCompile(`avc:  denied  ` + denial).MatchString(vm.Console) {
			t.Errorf("the kernel did not say: avc: denied %s\n%s", denial, vm.Tail())
		}
	}
}

// label finds what the guest says about a container.
func label(t *testing.T, said, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^LABEL ` + name + ` (system_u:system_r:container_t:s0:c\d+,c\d+)$`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("container %s has no label of its own:\n%s", name, said)
	}
	return m[1]
}
