package hostrun_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/attach"
	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/image/acitest"
	"github.com/clearrun/clearrun/pod"
	"github.com/clearrun/clearrun/test/unprivileged"
)

// rootlessDir in the environment of these tests says that a user without root's rights runs them, and
// names the folder with what they share.
const rootlessDir = "CLEARRUN_TEST_ROOTLESS"

// Who that is, and which IDs are the user's beside that.
const (
	rootlessUser = 4242
	subIDStart   = 300_000
)

// rootlessTests are those of this package that are about what a user's container is like, too. The
// others are about limits, tier host, and EROFS.
var rootlessTests = []string{
	"TestStreamsStayApart", "TestStdinIsCarried", "TestHowTheAppEnds", "TestSurroundings", "TestTerminal",
	"TestSignalReachesTheApp", "TestContextEndsTheContainer", "TestChangedImageDoesNotRun", "TestRefusals", "TestUserIDs", "TestUserRoot", "TestUserMappedRoot",
	"TestNoDescriptorLeaks", "TestEscapes", "TestSymlinkedMountTargets",
	"TestVolumes", "TestReplacedSource", "TestVolumeTargets", "TestVolumesThatDoNotFit", "TestNamespaces", "TestDotDot", "TestSetUserIDOnVolumes", "TestExecutableOfInit", "TestHostNetwork",
	"TestLandlockKeepsFilesAway", "TestLandlockKeepsAbstractSocketsAway", "TestLandlockLetsAppsWork",
	"TestSeccompIsolators", "TestNarrowFilterAndRunner",
}

func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become a user with ranges of IDs")
	}
	asUser(t, true, rootlessTests...)
}

func TestUserMappedRoot(t *testing.T) {
	asked(t)
	probed(t, pod.Overrides{CapAdd: []string{"ALL"}}, "mapped-root")
	probed(t, pod.Overrides{CapAdd: []string{"ALL"}, Network: "host"}, "mapped-root")
}

// TestRootlessWithoutRanges runs what an app can have whose user namespace has one ID.
func TestRootlessWithoutRanges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become a user without ranges of IDs")
	}
	asUser(t, false, "TestStreamsStayApart", "TestTerminal", "TestNoDescriptorLeaks", "TestUserAlone", "TestUserRoot")
}

// asked skips what only asUser runs.
func asked(t *testing.T) {
	t.Helper()
	if os.Getenv(rootlessDir) == "" {
		t.Skip("TestRootless runs this as a user")
	}
}

func TestUserIDs(t *testing.T) {
	asked(t)
	ids := fmt.Sprintf("0 %d 1\n1 %d 65536\n", rootlessUser, subIDStart)
	script := "for f in uid_map gid_map; do while read a b c; do echo $a $b $c; done </proc/self/$f; done; cat /proc/self/setgroups; grep Groups: /proc/self/status"
	shell(t, pod.Overrides{}, script).want(t, 0, ids+ids+"allow\nGroups:\t \n")
	if r := shell(t, pod.Overrides{User: "65537"}, "true"); r.code != hostrun.ExitFailure || r.err == nil || !strings.Contains(r.err.Error(), "no such ID") {
		t.Errorf("an ID beyond the map: exit code %d, %v", r.code, r.err)
	}
	dir := hostFolder(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	volume := pod.Overrides{Volumes: []pod.Volume{{Source: dir, Target: "/data"}}}
	shell(t, volume, "touch /data/root; chown 0:7 /data/root; chown 1:1 /data/file; chmod 4755 /data/root").want(t, 0, "")
	volume.User = "worker"
	shell(t, volume, "touch /data/worker").want(t, 0, "")
	for name, want := range map[string][2]uint32{
		"root": {rootlessUser, subIDStart + 6}, "file": {subIDStart, subIDStart}, "worker": {subIDStart + 1233, subIDStart + 2344},
	} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil || st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s belongs to %d:%d, %v, want %v", name, st.Uid, st.Gid, err, want)
		}
	}
	// Who owns them, the test cannot remove.
	shell(t, pod.Overrides{Volumes: volume.Volumes}, "rm /data/*").want(t, 0, "")
}

// TestUserRoot looks at the root, which is a tmpfs with the image's files.
func TestUserRoot(t *testing.T) {
	asked(t)
	r := shell(t, pod.Overrides{}, "grep -c ' / tmpfs rw,nodev' /proc/mounts; /bin/busybox df -k / | tail -n 1")
	var count, size, used int
	if _, err := fmt.Sscanf(r.stdout, "%d\n%s %d %d", &count, new(string), &size, &used); err != nil || count != 1 || size-used > 1<<20 || size-used < 1<<20-64 {
		t.Errorf("want 1 GiB of room: %v: %s%s", err, r.stdout, r.stderr)
	}
	shell(t, pod.Overrides{}, "test -L /bin/sh -a -u /bin/probe && cat /etc/motd").want(t, 0, "from the image\n")
	if r := shell(t, pod.Overrides{MemoryBytes: 64 << 20}, "true"); r.code != hostrun.ExitFailure || r.err == nil || !strings.Contains(r.err.Error(), "systemd-run") {
		t.Errorf("a limit without a cgroup: exit code %d, %v", r.code, r.err)
	}
}

func TestUserAlone(t *testing.T) {
	asked(t)
	shell(t, pod.Overrides{}, "while read a b c; do echo $a $b $c; done </proc/self/uid_map; cat /proc/self/setgroups; id -u").want(t, 0, fmt.Sprintf("0 %d 1\ndeny\n0\n", rootlessUser))
	if r := shell(t, pod.Overrides{User: "worker"}, "true"); r.code != hostrun.ExitFailure || r.err == nil || !strings.Contains(r.err.Error(), "subuid") {
		t.Errorf("another user: exit code %d, %v", r.code, r.err)
	}
	shell(t, pod.Overrides{User: "0:0"}, "id -g").want(t, 0, "0\n")
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	program := acitest.File("rootfs/bin/busybox", string(busybox))
	program.Mode, program.Uid, program.Gid = 0o755, 33, 44
	aci := filepath.Join(t.TempDir(), "app.aci")
	data := acitest.Tar(t, acitest.Manifest("example.com/owners", `{"exec":["/bin/busybox","stat","-c","%u:%g","/bin/busybox"],"user":"0","group":"0"}`),
		acitest.Dir("rootfs"), acitest.Dir("rootfs/bin"), program)
	if err := os.WriteFile(aci, data, 0o600); err != nil {
		t.Fatal(err)
	}
	runPod(t, openPod(t, aci, policyNS, pod.Overrides{}), attach.Streams{}).want(t, 0, "0:0\n")
}

// asUser runs tests of this package as a user, who has ranges of IDs or none.
func asUser(t *testing.T, ranges bool, tests ...string) {
	t.Helper()
	setUp(t)
	dir := userFolder(t)
	user := unprivileged.User{ID: rootlessUser}
	if ranges {
		user.SubIDs = subIDStart
	}
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^("+strings.Join(tests, "|")+")$")
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, []string{rootlessDir + "=" + dir}
	err := user.Start(cmd, dir)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, name := range tests {
		if !strings.Contains(out.String(), "\n--- PASS: "+name+" ") && !strings.Contains(out.String(), "this kernel") {
			t.Errorf("%s did not run:\n%s", name, out.String())
		}
	}
}

// userFolder makes a folder of the user's with what tests share.
func userFolder(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "clearrun-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	paths := []string{dir}
	for _, name := range []string{"bundle", "app.aci", "probe"} {
		data, err := os.ReadFile(filepath.Join(shared.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if err := (unprivileged.User{ID: rootlessUser}).Own(paths...); err != nil {
		t.Fatal(err)
	}
	return dir
}
