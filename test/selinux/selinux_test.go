package selinux

import (
	"regexp"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/clearrun/clearrun/test/debiankernel"
)

// boot runs a machine that enforces Debian's policy, with some of the guest's checks.
func boot(t *testing.T, kernel debiankernel.Kernel, checks string) debiankernel.Outcome {
	t.Helper()
	debiankernel.Need(t, "selinux/key")
	return debiankernel.Machine{
		Kernel:  kernel,
		Guest:   "./guest",
		Modules: []string{"erofs", "overlay", "loop", "kvm-amd"},
		Files:   []cpio.Record{cpio.StaticFile("policy", debiankernel.Read(t, debiankernel.Build+"selinux/policy"), 0o644)},
		Append:  "security=selinux selinux=1 audit=1 audit_backlog_limit=8192 CHECKS=" + checks,
	}.Run(t)
}

// TestContainersAreApart boots the machine. What happens in it is in guest/checks.go; that
// it was SELinux which kept A from B and the host, the kernel's audit messages must say.
func TestContainersAreApart(t *testing.T) {
	vm := boot(t, debiankernel.Release, "checks")
	vm.Want(t, 49)
	a, b := label(t, vm.Said, "A", "container_t"), label(t, vm.Said, "B", "container_t")
	file := own(b)
	monitorA, monitorB := label(t, vm.Said, "VM-A", "container_kvm_t"), label(t, vm.Said, "VM-B", "container_kvm_t")
	checkDenials(t, vm, []string{
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
	})
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
	return labels(t, said, name, kind)[0]
}

// labels finds that of each container that was called so, one after the other.
func labels(t *testing.T, said, name, kind string) (list []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^LABEL `+name+` (system_u:system_r:`+kind+`:s0:c\d+,c\d+)$`).FindAllStringSubmatch(said, -1) {
		list = append(list, m[1])
	}
	if list == nil {
		t.Fatalf("container %s has no label of its own:\n%s", name, said)
	}
	return list
}

// TestUserNamespaces boots a newer kernel, for --userns auto needs one. Options about labels are tried there, too.
func TestUserNamespaces(t *testing.T) {
	vm := boot(t, debiankernel.Newer, "users")
	vm.Want(t, 56)
	as, bs := labels(t, vm.Said, "A", "container_t"), labels(t, vm.Said, "B", "container_t")
	if len(as) != 2 || len(bs) != 2 {
		t.Fatalf("want two labels of each container: %q, %q", as, bs)
	}
	for i, a := range as {
		checkDenials(t, vm, []string{
			`\{ search \} .* scontext=` + a + ` tcontext=` + own(bs[i]) + ` tclass=dir permissive=0`,
			`\{ read \} .* name="secret" .* scontext=` + a + ` tcontext=\S+:user_tmpfs_t:s0 tclass=file permissive=0`,
			`\{ read \} .* path="/own" .* scontext=` + a + ` tcontext=` + own(bs[i]) + ` tclass=file permissive=0`,
			`\{ read \} .* path="/var/volume-B/file" .* scontext=` + a + ` tcontext=` + own(bs[i]) + ` tclass=file permissive=0`,
			`\{ connectto \} .* scontext=` + a + ` tcontext=` + bs[i] + ` tclass=unix_stream_socket permissive=0`,
			`\{ sigkill \} .* scontext=` + a + ` tcontext=` + bs[i] + ` tclass=process permissive=0`,
		})
	}
	// Users have categories of their own.
	for _, l := range []string{as[1], label(t, vm.Said, "VM", "container_kvm_t")} {
		if !regexp.MustCompile(`:s0:c(5[1-9]\d|[6-9]\d\d|\d{4}),`).MatchString(l) {
			t.Errorf("a user's container or VM has %s", l)
		}
	}
}

// checkDenials fails the test unless the kernel's audit messages tell of each of them.
func checkDenials(t *testing.T, vm debiankernel.Outcome, denials []string) {
	t.Helper()
	for _, denial := range denials {
		if !regexp.MustCompile(`avc:  denied  ` + denial).MatchString(vm.Console) {
			t.Errorf("the kernel did not say: avc: denied %s\n%s", denial, vm.Tail())
		}
	}
}
