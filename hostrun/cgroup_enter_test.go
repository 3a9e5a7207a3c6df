package hostrun

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/clearrun/clearrun/pod"
)

// TestStartInCgroup starts a process in a cgroup of this host's hierarchies, whatever they
// are. It is there in each of them, and this thread is where it was.
func TestStartInCgroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	c, err := makeCgroup(pod.Resources{}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.remove()
	if len(c.paths) == 0 {
		t.Skip("no cgroups are mounted")
	}
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if err := c.start(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	for controller, path := range c.paths {
		procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil || len(strings.Fields(string(procs))) != 1 {
			t.Errorf("controller %q has %q (%v), want one process", controller, procs, err)
		}
	}
	after, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil || string(after) != string(before) {
		t.Errorf("this thread was in\n%sand is in\n%s (%v)", before, after, err)
	}
}

func TestOwnCgroup(t *testing.T) {
	file := []byte("12:cpu,cpuacct:/user.slice\n4:memory:/a:b\n0::/unified\n")
	for controller, want := range map[string]string{"cpu": "/user.slice", "memory": "/a:b", "pids": "/", "": "/unified"} {
		if got, found := ownCgroup(file, controller); got != want || found != (controller != "pids") {
			t.Errorf("%q: %q, %v, want %q", controller, got, found, want)
		}
	}
}
