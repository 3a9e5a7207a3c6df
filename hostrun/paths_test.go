package hostrun

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
)

// TestLoopDevice mounts an image by way of a loop device, as kernels before Linux 6.12
// need it.
func TestLoopDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/root", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/root/file", []byte("inside"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.erofs", dir+"/image", dir+"/root").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.erofs: %v: %s", err, out)
	}
	file, err := os.Open(dir + "/image")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	loop, err := attachLoop(file)
	if err != nil {
		t.Fatal(err)
	}
	mount, err := mountEROFS(loop, "")
	loop.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, "file", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	data := make([]byte, 16)
	if n, err := unix.Read(fd, data); err != nil || string(data[:n]) != "inside" {
		t.Errorf("%q, %v", data[:n], err)
	}
	if _, err := unix.Openat(mount, "new", unix.O_CREAT|unix.O_WRONLY, 0o644); err != unix.EROFS {
		t.Errorf("a file was made: %v, want %v", err, unix.EROFS)
	}
}

// pureV2 mounts the hierarchy of version 2 at a place of its own.
func pureV2(t *testing.T) hierarchies {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("cgroup2", dir, "cgroup2", 0, ""); err != nil {
		t.Skip("no cgroup2 to mount: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	h := findHierarchies(dir)
	if !h.pure || h.v2 != dir {
		t.Fatalf("%+v is not seen as version 2 alone", h)
	}
	return h
}

// TestPureCgroupV2 uses version 2 as hosts have it that have nothing else. Its controllers
// may all be in use by version 1; then a limit must be refused.
func TestPureCgroupV2(t *testing.T) {
	h := pureV2(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const limit = 64 << 20
	controllers, err := os.ReadFile(h.v2 + "/cgroup.controllers")
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.makeCgroup(pod.Resources{MemoryBytes: limit}, false)
	if strings.Contains(string(controllers), "memory") {
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(c.paths[""] + "/memory.max"); strings.TrimSpace(string(text)) != strconv.Itoa(limit) {
			t.Errorf("memory.max: %s, %v", text, err)
		}
	} else {
		if err == nil || !strings.Contains(err.Error(), "limit memory") {
			t.Errorf("a limit that cannot be set: %v", err)
		}
		if c, err = h.makeCgroup(pod.Resources{}, false); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if err := c.start(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	path := c.paths[""]
	if procs, err := os.ReadFile(path + "/cgroup.procs"); strings.TrimSpace(string(procs)) != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("in the cgroup: %q, %v", procs, err)
	}
	if c.oomKilled() {
		t.Error("nothing was killed")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	c.remove()
	if left, _ := filepath.Glob(path); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
