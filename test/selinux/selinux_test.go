package selinux

import (
	"regexp"
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
		Modules: []string{"erofs", "overlay", "loop", "kvm-amd"},
		Files:   []cpio.Record{cpio.StaticFile("policy", debiankernel.Read(t, debiankernel.Build+"selinux/policy"), 0o644)},
		Append:  "security=selinux selinux=1 audit=1 audit_backlog_limit=8192",
	}.Run(t)
	vm.Want(t, 49)
	a, b := label(t, vm.Said, "A", "container_t"), label(t, vm.Said, "B", "container_t")
	file := own(b)
	monitorA, monitorB := label(t, vm.Said, "VM-A", "container_kvm_t"), label(t, vm.Said, "VM-B", "container_kvm_t")
	for _, denial := range []string{
		`\{ search \} .* scontext=` + a + ` tcontext=` + file + ` tclass=dir permissive=0`,
		`\{ search \} .* scontext=` + a + ` tcontext=\S+:user_tmpfs_t:s0 tclass=dir permissive=0`,
		`\{ read \} .* name="secret" .* scontext=` + a + ` tcontext=\S+:user_tmpfs_t:s0 tclass=file permissive=0`,
		`\{ read \} .* path="/own" .* scontext=` + a + ` tcontext=` + file + ` tclass=file permissive=0`,
		`\{ read \} .* path="/var/volume-B/file" .* scontext=` + a + ` tcontext=` + file + ` tclass=file permissive=0`,
		`\{ read \} .* scontext=` + a + ` tcontext=` + b + ` tclass=key permissive=0`,
		`\{ connectto \} .* scontext=` + a + ` tcontext=` + b + ` tclass=unix_stream_socket permissive=0`,
		`\{ sigkill \} .* scontext=` + a + ` tcontext=` + b + ` tclass=process permissive=0`,
		`\{ sigkill \} .* scontext=` + a + ` tcontext=` + b + ` tclass=process permissive=1`,
		`\{ read \} .* scontext=` + monitorA + ` tcontext=` + own(monitorB) + ` tclass=file permissive=0`,
		`\{ read \} .* path="/proc/\d+/mem" .* scontext=` + monitorA + ` tcontext=` + monitorB + ` tclass=file permissive=0`,
		`\{ read \} .* path="/var/host/secret" .* scontext=` + monitorA + ` tcontext=\S+:user_tmpfs_t:s0 tclass=file permissive=0`,
		`\{ sigkill \} .* scontext=` + monitorA + ` tcontext=` + monitorB + ` tclass=process permissive=0`,
		`\{ sigkill \} .* scontext=` + monitorA + ` tcontext=` + monitorB + ` tclass=process permissive=1`,
	} {
		if !regexp.MustCompile(`avc:  denied  ` + denial).MatchString(vm.Console) {
			t.Errorf("the kernel did not say: avc: denied %s\n%s", denial, vm.Tail())
		}
	}
	for what, label := range map[string]string{
		`socket:\S+`:             monitorB,
		`/memfd:clearrun-config`: own(monitorB),
		`/\S+/root\.img`:         "system_u:object_r:container_ro_file_t:s0",
		`/bin/clearrun`:          "system_u:object_r:bin_t:s0",
		`/dev/kvm`:               "system_u:object_r:kvm_device_t:s0",
	} {
		opened := regexp.MustCompile(`(?m)^OPEN VM-B `+what+`.* (\S+)$`).FindAllStringSubmatch(vm.Said, -1)
		if len(opened) == 0 {
			t.Errorf("the monitor has no %s open:\n%s", what, vm.Said)
		}
		for _, o := range opened {
			if o[1] != label {
				t.Errorf("%s has the label %s, want %s", what, o[1], label)
			}
		}
	}
}

// own is the label of what belongs to processes with a label.
func own(process string) string {
	return regexp.MustCompile(`system_r:container(_kvm)?_t`).ReplaceAllString(process, "object_r:container_file_t")
}

// label finds what the guest says about a container.
func label(t *testing.T, said, name, kind string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^LABEL ` + name + ` (system_u:system_r:` + kind + `:s0:c\d+,c\d+)$`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("container %s has no label of its own:\n%s", name, said)
	}
	return m[1]
}
