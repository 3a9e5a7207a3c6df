package main

import (
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun/seccomp"
	"github.com/clearrun/clearrun/pod"
)

// TestRestriction asks a narrowed filter about every call: it answers as the image says
// or as the profile does, and lets nothing through that either of them does not.
func TestRestriction(t *testing.T) {
	info, err := arch.GetInfo("amd64")
	if err != nil {
		t.Fatal(err)
	}
	const kill = unix.SECCOMP_RET_KILL_PROCESS
	eperm, enotsup := unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM), unix.SECCOMP_RET_ERRNO|uint32(unix.EOPNOTSUPP)
	profile := ours(t, pod.DefaultCapabilities(), nil)
	for _, tt := range []struct {
		name   string
		make   func([]string, string) (*seccomp.Restriction, error)
		set    []string
		errno  string
		answer uint32
		// denied and asked are calls that must be and must not be denied by the image.
		denied, asked []string
	}{
		{"remove", seccomp.Remove, []string{"mkdir", "chown32", "clone"}, "ENOTSUP", enotsup, []string{"mkdir"}, []string{"clone", "rmdir", "chown", "mkdirat"}},
		{"retain", seccomp.Retain, []string{"mkdir", "read"}, "", kill, []string{"rmdir", "open", "mount", "futex_waitv"}, []string{"mkdir", "read", "execve", "exit_group"}},
		{"blacklist", seccomp.Remove, []string{"@docker/default-blacklist", "socket"}, "", kill, []string{"mount", "reboot", "socket", "add_key"}, []string{"clone3", "personality", "clone", "open"}},
		{"whitelist", seccomp.Retain, []string{"@rkt/default-whitelist", "umount2"}, "EPERM", eperm, []string{"reboot", "mount"}, []string{"open", "clone3", "umount2", "socket"}},
		{"nothing", seccomp.Retain, []string{"@appc.io/empty"}, "EPERM", eperm, []string{"open", "mkdir"}, []string{"exit_group"}},
		{"everything", seccomp.Remove, []string{"@appc.io/all"}, "EPERM", eperm, []string{"open", "mkdir"}, []string{"exit_group"}},
	} {
		r, err := tt.make(tt.set, tt.errno)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		narrowed := ours(t, pod.DefaultCapabilities(), r)
		for number := range uint32(600) {
			was, is := profile.call(t, unix.AUDIT_ARCH_X86_64, number, [6]uint64{}), narrowed.call(t, unix.AUDIT_ARCH_X86_64, number, [6]uint64{})
			if is != was && is != tt.answer {
				t.Errorf("%s: call %d gives %#x, without %#x", tt.name, number, is, was)
			}
		}
		for _, name := range tt.denied {
			if got := narrowed.call(t, unix.AUDIT_ARCH_X86_64, uint32(info.SyscallNames[name]), [6]uint64{}); got != tt.answer {
				t.Errorf("%s: %s gives %#x, want %#x", tt.name, name, got, tt.answer)
			}
		}
		for _, name := range tt.asked {
			number := uint32(info.SyscallNames[name])
			if got, want := narrowed.call(t, unix.AUDIT_ARCH_X86_64, number, [6]uint64{}), profile.call(t, unix.AUDIT_ARCH_X86_64, number, [6]uint64{}); got != want {
				t.Errorf("%s: %s gives %#x, want the profile's %#x", tt.name, name, got, want)
			}
		}
	}
}
