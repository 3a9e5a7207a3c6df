package hostrun_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
)

// hostFolder makes a directory of the host's with a file in it, and one outside of it.
func hostFolder(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "shared")
	for name, content := range map[string]string{"shared/file": "inside\n", "secret": "outside\n"} {
		path := filepath.Join(filepath.Dir(dir), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestVolumes(t *testing.T) {
	dir := hostFolder(t)
	for _, tt := range []struct {
		name    string
		volumes []pod.Volume
		script  string
		want    string
	}{
		{"written to", []pod.Volume{{Source: dir, Target: "/data"}}, "cat /data/file; echo new >/data/new; cat /data/new", "inside\nnew\n"},
		{"read-only", []pod.Volume{{Source: dir, Target: "/data", ReadOnly: true}}, "cat /data/file; touch /data/x 2>/dev/null || echo refused", "inside\nrefused\n"},
		{"file", []pod.Volume{{Source: dir + "/file", Target: "/etc/deep/down"}}, "cat /etc/deep/down", "inside\n"},
		{"in each other", []pod.Volume{{Source: dir, Target: "/data/a"}, {Source: dir, Target: "/data", ReadOnly: true}}, "ls /data", "a\nfile\nnew\n"},
		{"no devices, no set-user-ID", []pod.Volume{{Source: dir, Target: "/data"}}, "grep -c ' /data .*nosuid,nodev' /proc/self/mounts", "1\n"},
		{"dots", []pod.Volume{{Source: dir, Target: "/data"}}, "cat /data/../../../../etc/motd; cat /data/../secret 2>/dev/null || echo nothing", "from the image\nnothing\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "in each other" { // its place is on a volume, and must be there
				if err := os.MkdirAll(dir+"/a", 0o755); err != nil {
					t.Fatal(err)
				}
			}
			shell(t, pod.Overrides{Volumes: tt.volumes}, tt.script).want(t, 0, tt.want)
		})
	}
	if data, err := os.ReadFile(dir + "/new"); string(data) != "new\n" {
		t.Errorf("what the app wrote: %q, %v", data, err)
	}
}

// TestReplacedSource puts a link to another file where a volume's source was when the
// policy was asked.
func TestReplacedSource(t *testing.T) {
	aci := setUp(t)
	dir := hostFolder(t)
	p := openPod(t, aci, policyNS, pod.Overrides{Volumes: []pod.Volume{{Source: dir, Target: "/data"}}, Entrypoint: []string{"/bin/true"}})
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", dir); err != nil {
		t.Fatal(err)
	}
	if r := runPod(t, p, attach.Streams{}); r.code == 0 || r.err == nil || !strings.Contains(r.err.Error(), "symbolic link") {
		t.Errorf("exit code %d, %v", r.code, r.err)
	}
	if r := shell(t, pod.Overrides{Volumes: []pod.Volume{{Source: dir + ".old/file", Target: "/dev/null"}}}, "true"); r.err != nil {
		t.Errorf("a volume over a device: %v", r.err)
	}
}

// TestVolumeTargets runs an image whose links lead a volume's target elsewhere.
func TestVolumeTargets(t *testing.T) {
	setUp(t)
	dir := hostFolder(t)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	program := acitest.File("rootfs/bin/busybox", string(busybox))
	program.Mode = 0o755
	outside := filepath.Dir(dir)
	aci := filepath.Join(t.TempDir(), "evil.aci")
	data := acitest.Tar(t, acitest.Manifest("example.com/evil", `{"exec":["/bin/busybox"],"user":"0","group":"0"}`),
		acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), program, acitest.Dir("rootfs/inside"),
		acitest.Link('2', "rootfs/up", "../../../../../../inside"), acitest.Link('2', "rootfs/host", outside),
		acitest.Link('2', "rootfs/proc-link", "/proc"), acitest.Link('2', "rootfs/sys-link", "../sys/kernel"),
		acitest.Link('2', "rootfs/magic", "/proc/self/fd/3"), acitest.Link('2', "rootfs/root", "/proc/1/root"))
	if err := os.WriteFile(aci, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"/up": "", "/host": "file exists", "/host/x": "file exists", "/proc-link": "kernel's", "/proc-link/sys": "kernel's", "/proc": "kernel's",
		"/sys-link": "kernel's", "/magic": "symbolic links", "/root/tmp": "symbolic links", "/proc/1/root/x": "symbolic links",
	} {
		p := openPod(t, aci, policyNS, pod.Overrides{
			Volumes: []pod.Volume{{Source: dir, Target: target}}, Entrypoint: []string{"/bin/busybox", "cat", "/inside/file"},
		})
		r := runPod(t, p, attach.Streams{})
		if want == "" {
			r.want(t, 0, "inside\n")
		} else if r.code == 0 || r.err == nil || !strings.Contains(r.err.Error(), want) {
			t.Errorf("%s: exit code %d, %v, want %q", target, r.code, r.err, want)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 2 {
		t.Errorf("on the host: %v, %v", left, err)
	}
	nothingLeft(t)
}

// TestVolumesThatDoNotFit mounts folders over the image's files, and files over its folders.
func TestVolumesThatDoNotFit(t *testing.T) {
	aci := setUp(t)
	dir := hostFolder(t)
	for _, tt := range []struct{ source, target, want string }{
		{dir, "/etc/motd", "it is a folder, and there is a file at its target: name another target"},
		{dir, "/bin/sh", "it is a folder, and there is a file at its target"}, // a link to one
		{dir, "/dev/null", "it is a folder, and there is a file at its target"},
		{dir + "/file", "/etc", "it is a file, and there is a folder at its target: name another target"},
		{dir, "/etc/motd/below", "a part of its target's path is a file: name another target"},
	} {
		v := pod.Volume{Source: tt.source, Target: tt.target, ReadOnly: true}
		p := openPod(t, aci, policyNS, pod.Overrides{Volumes: []pod.Volume{v}, Entrypoint: []string{"/bin/true"}})
		if r := runPod(t, p, attach.Streams{}); r.code != 125 || r.err == nil || !strings.Contains(r.err.Error(), "volume "+v.String()+": "+tt.want) {
			t.Errorf("%s: exit code %d, %v, want %q", v, r.code, r.err, tt.want)
		}
	}
	nothingLeft(t)
}

func TestHostNetwork(t *testing.T) {
	// Not self: another test may have left the main thread in namespaces of its own.
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, pod.Overrides{Network: "host"}, "", "/bin/busybox", "readlink", "/proc/self/ns/net")
	r.want(t, 0, own+"\n")
	if r := run(t, pod.Overrides{}, "", "/bin/busybox", "readlink", "/proc/self/ns/net"); r.code != 0 || r.stdout == own+"\n" {
		t.Errorf("without being asked for: exit code %d, %v, %s", r.code, r.err, r.stdout)
	}
}

// TestMissingNetworks asks for networks that there are not: the app must not run without.
func TestMissingNetworks(t *testing.T) {
	aci := setUp(t)
	policy := strings.Replace(policyNS, "user, host", "user, host, \"cni:lan\"", 1)
	for _, network := range []string{"cni:lan"} {
		p := openPod(t, aci, policy, pod.Overrides{Network: network, Entrypoint: []string{"/bin/true"}})
		if r := runPod(t, p, attach.Streams{}); r.code != 125 || r.err == nil || !strings.Contains(r.err.Error(), network) {
			t.Errorf("%s: exit code %d, %v", network, r.code, r.err)
		}
	}
}
