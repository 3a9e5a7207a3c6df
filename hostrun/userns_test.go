package hostrun_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/pod"
)

// userNSVariable in the environment of these tests is the user namespace of all containers that do not
// ask for one.
const userNSVariable = "CLEARRUN_TEST_USERNS"

// TestUserNamespace runs root's containers in user namespaces, under the tests that users' are under.
func TestUserNamespace(t *testing.T) {
	setUp(t)
	if os.Getenv(rootlessDir) != "" {
		t.Skip("this is about root's runs")
	}
	var tests []string
	for _, name := range rootlessTests {
		if !strings.HasPrefix(name, "TestUser") {
			tests = append(tests, name)
		}
	}
	tests = append(tests, "TestMemoryLimit", "TestProcessLimit", "TestWritableLayerIsBounded", "TestWriterEndsTheContainer")
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^("+strings.Join(tests, "|")+")$")
	cmd.Env = append(os.Environ(), rootlessDir+"="+shared.dir, userNSVariable+"=auto")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range tests {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") && !strings.Contains(string(out), "this kernel") {
			t.Errorf("%s did not run:\n%s", name, out)
		}
	}
}

// base is root's ID on the host, as a container sees it.
func base(t *testing.T) (n int) {
	t.Helper()
	r := shell(t, pod.Overrides{UserNS: "auto"}, "cat /proc/self/uid_map /proc/self/gid_map")
	var zero, size int
	if _, err := fmt.Sscan(r.stdout, &zero, &n, &size); err != nil || zero != 0 || size != 65536 || n < 0x70000000 || strings.Count(r.stdout, fmt.Sprint(n)) != 2 {
		t.Fatalf("the maps are %q, %v, %v", r.stdout, r.err, err)
	}
	return n
}

func TestUserNamespaceOwners(t *testing.T) {
	setUp(t)
	if os.Geteuid() != 0 {
		t.Skip("this is about root's runs")
	}
	if a, b := base(t), base(t); a == b {
		t.Errorf("two runs, one after the other, had the same IDs, from %d on", a)
	}
	auto := func(o pod.Overrides) pod.Overrides {
		o.UserNS = "auto"
		return o
	}
	// Owners of the image, and set-user-ID bits, mean what they do elsewhere.
	shell(t, auto(pod.Overrides{}), "/bin/busybox stat -c %u:%g /etc/motd /dev/pts; rm /bin/probe; mkdir /bin/probe /etc/new; rm -r /etc; mkdir /etc; ls /etc").want(t, 0, "0:0\n0:0\n")
	shell(t, auto(pod.Overrides{User: "worker"}), "/bin/probe euid").want(t, 0, "0\n")
	dir := hostFolder(t)
	if err := os.Chown(dir, 1234, 2345); err != nil {
		t.Fatal(err)
	}
	volume := auto(pod.Overrides{Volumes: []pod.Volume{{Source: dir, Target: "/data"}}})
	shell(t, volume, "/bin/busybox stat -c %u:%g /data /data/file; touch /data/root").want(t, 0, "1234:2345\n0:0\n")
	volume.User = "worker"
	shell(t, volume, "touch /data/worker; touch /data/file 2>/dev/null || echo refused").want(t, 0, "refused\n")
	for name, want := range map[string][2]uint32{"root": {0, 0}, "worker": {1234, 2345}} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil || st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s belongs to %d:%d, %v, want %v", name, st.Uid, st.Gid, err, want)
		}
	}
	// A file system without mapped IDs.
	r := shell(t, auto(pod.Overrides{Volumes: []pod.Volume{{Source: "/proc/sys/kernel", Target: "/data"}}}), "true")
	if r.code != hostrun.ExitFailure || r.err == nil || !strings.Contains(r.err.Error(), "--userns host") {
		t.Errorf("a volume of proc: exit code %d, %v", r.code, r.err)
	}
	// As the host has it, root is nobody: what is open to root alone on the host is not to the container's.
	probed(t, auto(pod.Overrides{CapAdd: []string{"ALL"}}), "mapped-root")
	probed(t, auto(pod.Overrides{Network: "host", CapAdd: []string{"ALL"}}), "mapped-root")
	nothingLeft(t)
}
