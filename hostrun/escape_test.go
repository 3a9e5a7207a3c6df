package hostrun_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
)

// The tests of this file try the known ways out of containers, as root inside, with
// the default capabilities unless they say otherwise. Each attempt must fail.

// probed runs one probe, which gives 0 if its attempts failed.
func probed(t *testing.T, o pod.Overrides, name string) {
	t.Helper()
	if r := run(t, o, "", "/bin/probe", name); r.code != 0 || r.err != nil {
		t.Errorf("exit code %d, %v: %s%s", r.code, r.err, r.stdout, r.stderr)
	}
}

func TestNoDescriptorLeaks(t *testing.T) {
	setUp(t)
	// Those that clearrun inherits itself without close-on-exec, and knows nothing of.
	for _, path := range []string{"/", "/sys/fs/cgroup", "/proc/self"} {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	probed(t, pod.Overrides{}, "descriptors")
}

func TestEscapes(t *testing.T) {
	all := pod.Overrides{CapAdd: []string{"ALL"}}
	trace := pod.Overrides{CapAdd: []string{"SYS_PTRACE"}}
	for _, tt := range []struct {
		name string
		o    pod.Overrides
	}{
		{"exe-overwrite", pod.Overrides{}},
		{"exe-overwrite", trace},
		{"magic-links", pod.Overrides{}},
		{"init-is-closed", pod.Overrides{}},
		{"trace-init", pod.Overrides{}},
		{"init-has-no-rights", trace},
		{"user-namespaces", pod.Overrides{}},
		{"user-namespaces", pod.Overrides{User: "worker"}},
		{"mounts", pod.Overrides{}},
		{"devices", pod.Overrides{}},
		{"kmsg", pod.Overrides{}},
		{"keyrings", pod.Overrides{}},
		{"sysrq", pod.Overrides{}},
		{"proc-sys", pod.Overrides{}},
		{"masked", pod.Overrides{}},
		{"release-agent", pod.Overrides{}},
		{"handles", pod.Overrides{}},
		{"terminal-input", pod.Overrides{}},
		{"other-abis", pod.Overrides{}},
		{"module", pod.Overrides{}},
		// What all capabilities do not help with.
		{"descriptors", all},
		{"host-network", all},
		{"exe-overwrite", all},
		{"init-has-no-rights", all},
		{"keyrings", all},
		{"terminal-input", all},
		{"other-abis", all},
	} {
		name := tt.name
		if len(tt.o.CapAdd)+len(tt.o.User) > 0 {
			name += "/" + strings.Join(append(tt.o.CapAdd, tt.o.User), "")
		}
		t.Run(name, func(t *testing.T) { probed(t, tt.o, tt.name) })
	}
}

// TestDotDot has two volumes of one tree, so that an app can move folders out of the one by the other.
func TestDotDot(t *testing.T) {
	dir := hostFolder(t)
	if err := os.Mkdir(dir+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	probed(t, pod.Overrides{Volumes: []pod.Volume{{Source: dir, Target: "/outer"}, {Source: dir + "/sub", Target: "/inner"}}}, "dot-dot")
}

// TestSetUserIDOnVolumes has a user execute what belongs to root on a volume and would make root of everybody.
func TestSetUserIDOnVolumes(t *testing.T) {
	setUp(t)
	dir := hostFolder(t)
	program, err := os.ReadFile(shared.dir + "/probe")
	if err != nil {
		t.Fatal(err)
	}
	path := dir + "/probe"
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o4755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	o := pod.Overrides{User: "worker", Volumes: []pod.Volume{{Source: dir, Target: "/data"}}}
	shell(t, o, "test -u /data/probe && /data/probe euid && /bin/probe euid").want(t, 0, "1234\n0\n")
}

// TestExecutableOfInit has PID 1 execute its own program as the app (CVE-2019-5736): it ends.
func TestExecutableOfInit(t *testing.T) {
	for _, o := range []pod.Overrides{{}, {CapAdd: []string{"SYS_PTRACE"}}, {Env: []string{"CLEARRUN_CONTAINER=host"}}, {Env: []string{"CLEARRUN_CONTAINER=ns"}}} {
		for _, path := range []string{"/proc/self/exe", "/proc/1/exe"} {
			if r := run(t, o, "", path); r.code == 0 {
				t.Errorf("%s with %+v: exit code %d, %v: %s%s", path, o.Env, r.code, r.err, r.stdout, r.stderr)
			}
		}
	}
	nothingLeft(t)
}

// TestSymlinkedMountTargets runs an image whose mount points are links out of the root.
func TestSymlinkedMountTargets(t *testing.T) {
	setUp(t)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	shellEntry := acitest.File("rootfs/bin/busybox", string(busybox))
	shellEntry.Mode = 0o755
	victim := t.TempDir()
	for _, target := range []string{"proc", "sys", "dev"} {
		path := victim + "/" + target + ".aci"
		data := acitest.Tar(t, acitest.Manifest("example.com/evil", `{"exec":["/bin/busybox","true"],"user":"0","group":"0"}`),
			acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), shellEntry,
			acitest.Link('2', "rootfs/"+target, "../../../../.."+victim))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := runPod(t, openPod(t, path, policyNS, pod.Overrides{}), attach.Streams{})
		if r.code == 0 || r.err == nil || !strings.Contains(r.err.Error(), "/"+target) {
			t.Errorf("/%s is a link: exit code %d, %v", target, r.code, r.err)
		}
		left, err := os.ReadDir(victim)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range left {
			if !strings.HasSuffix(e.Name(), ".aci") {
				t.Errorf("/%s is a link: the host got %s", target, e.Name())
			}
		}
	}
	nothingLeft(t)
}
