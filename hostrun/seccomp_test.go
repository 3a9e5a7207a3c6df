package hostrun_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
)

// isolated runs a script in an image of busybox with one isolator.
func isolated(t *testing.T, isolator, value, script string, o pod.Overrides) result {
	t.Helper()
	return runPod(t, isolatedPod(t, isolator, value, script, o), attach.Streams{})
}

func isolatedPod(t *testing.T, isolator, value, script string, o pod.Overrides) *pod.Pod {
	t.Helper()
	setUp(t)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	program := acitest.File("rootfs/bin/busybox", string(busybox))
	program.Mode = 0o755
	app := fmt.Sprintf(`{"exec":["/bin/busybox","sh","-c",%q],"user":"0","group":"0","isolators":[{"name":%q,"value":%s}]}`, script, isolator, value)
	path := filepath.Join(t.TempDir(), "app.aci")
	image := acitest.Tar(t, acitest.Manifest("example.com/isolated", app), acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), program)
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return openPod(t, path, policyNS, o)
}

// few is a retain-set for busybox to start, and not much more.
const few = `{"set":["open","openat","getuid","geteuid","getppid","stat","lstat","uname","getcwd","brk","arch_prctl","set_tid_address","set_robust_list","rseq","getrandom","readlink","fstat","setuid","setgid","vfork","fork","lseek","dup2"],"errno":"EXDEV"}`

func TestSeccompIsolators(t *testing.T) {
	const remove, retain = "os/linux/seccomp-remove-set", "os/linux/seccomp-retain-set"
	for _, tt := range []struct {
		name, isolator, value, script string
		code                          int
		stdout                        string
	}{
		{"errno", remove, `{"set":["mkdir"],"errno":"ENOTSUP"}`, "busybox mkdir /x 2>&1; echo on", 0, "mkdir: can't create directory '/x': Operation not supported\non\n"},
		{"SIGSYS", remove, `{"set":["mkdir"]}`, "exec busybox mkdir /x", 128 + 31, ""},
		{"not removed", remove, `{"set":["rmdir"]}`, "busybox mkdir /x && echo made", 0, "made\n"},
		{"whitelist", retain, `{"set":["@rkt/default-whitelist"]}`, "busybox mkdir /x && echo made", 0, "made\n"},
		{"retained is not granted", retain, `{"set":["@docker/default-whitelist","add_key","mount"],"errno":"EXDEV"}`, "busybox mount -t tmpfs x /proc/tty 2>&1 | busybox grep -o denied", 0, "denied\n"},
		{"not retained", retain, few, "busybox mkdir /x 2>&1", 1, "mkdir: can't create directory '/x': Invalid cross-device link\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := isolated(t, tt.isolator, tt.value, tt.script, pod.Overrides{})
			if r.code != tt.code || r.stdout != tt.stdout || r.err != nil {
				t.Errorf("exit code %d, %v\nstdout %q, want code %d and %q\nstderr %q", r.code, r.err, r.stdout, tt.code, tt.stdout, r.stderr)
			}
		})
	}
}

// TestNarrowFilterAndRunner has PID 1 do what it does, under a filter for an app that
// makes next to no call.
func TestNarrowFilterAndRunner(t *testing.T) {
	for name, o := range map[string]pod.Overrides{"pipes": {}, "another user": {User: "1000:1000"}, "limits": {Rlimits: []pod.Rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 50, Hard: 60}}}} {
		t.Run(name, func(t *testing.T) {
			r := isolated(t, "os/linux/seccomp-retain-set", few, "echo said; kill -TERM $$", o)
			if r.code != 128+15 || r.stdout != "said\n" {
				t.Errorf("exit code %d, %v: %q %q", r.code, r.err, r.stdout, r.stderr)
			}
		})
	}
}

func TestSeccompReport(t *testing.T) {
	const remove, retain = "os/linux/seccomp-remove-set", "os/linux/seccomp-retain-set"
	for _, tt := range []struct {
		isolator, value string
		want            pod.EnforcementState
	}{
		{remove, `{"set":["mkdir"]}`, pod.Enforced},
		{remove, `{"set":["clone"]}`, pod.Adjusted}, // PID 1's
		{remove, `{"set":["@appc.io/empty"]}`, pod.Enforced},
		{retain, `{"set":["@rkt/default-whitelist"]}`, pod.Enforced},
		{retain, `{"set":["@rkt/default-whitelist","reboot"]}`, pod.Adjusted}, // the profile denies it
		{retain, `{"set":["@appc.io/all"]}`, pod.Adjusted},
		{retain, `{"set":["mkdir"]}`, pod.Adjusted},
	} {
		p := isolatedPod(t, tt.isolator, tt.value, "true", pod.Overrides{Strict: true})
		if len(p.Enforcement) != 1 || p.Enforcement[0].State != tt.want || p.Enforcement[0].Detail == "" {
			t.Errorf("%s %s: %+v, want %s", tt.isolator, tt.value, p.Enforcement, tt.want)
		}
	}
}
