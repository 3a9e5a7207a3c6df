package hostrun

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
)

// TestDelegatedCgroup makes cgroups like those of systemd for a user's session, and joins as the
// user, whom the kernel lets move processes below what was delegated alone.
func TestDelegatedCgroup(t *testing.T) {
	h := pureV2(t)
	const user = 4251
	// slice/ user/ app/: the first is root's.
	slice := filepath.Join(h.v2, fmt.Sprintf("clearrun-test-%d", os.Getpid()))
	delegate, app := slice+"/user", slice+"/user/app"
	if err := os.MkdirAll(app, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{delegate + "/" + cgroupParent, app, delegate, slice} {
			_ = unix.Rmdir(dir)
		}
	})
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	defer end()
	if err := write(app, "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "cgroup")
	if err := os.WriteFile(own, []byte("4:memory:/x\n0::"+strings.TrimPrefix(app, h.v2)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{delegate, delegate + "/cgroup.procs", app, app + "/cgroup.procs", filepath.Dir(h.v2), filepath.Dir(own), filepath.Dir(filepath.Dir(own))} {
		if err := os.Chown(path, user, user); err != nil {
			t.Fatal(err)
		}
	}
	as := func(id uintptr) { _, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, id, 0, 0) }
	runtime.LockOSThread() // whose rights to files are the user's for a while
	defer runtime.UnlockOSThread()
	as(user)
	found := delegated(h.v2, own)
	c, err := found.makeCgroup(pod.Resources{}, false)
	if err == nil {
		err = c.take(cmd.Process.Pid)
	}
	as(0)
	if found.v2 != delegate || err != nil {
		t.Fatalf("found %+v, want %s; %v", found, delegate, err)
	}
	path := c.paths[""]
	if procs, err := os.ReadFile(path + "/cgroup.procs"); strings.TrimSpace(string(procs)) != strconv.Itoa(cmd.Process.Pid) || !strings.HasPrefix(path, delegate+"/clearrun/") {
		t.Errorf("in the cgroup %s: %q, %v", path, procs, err)
	}
	end()
	c.remove()
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s is left behind", path)
	}
	if none := delegated(filepath.Dir(own), own); none.v2 != "" {
		t.Errorf("no cgroups are there: %+v", none)
	}
}
