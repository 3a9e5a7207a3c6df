package hostrun

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
)

// disk is the one that the folder for temporary files lies on. These tests run in
// test/debianhost, too, with cgroups of version 2.
func disk(t *testing.T) (dir string, device uint64) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	var stat unix.Stat_t
	dir = t.TempDir()
	if err := unix.Stat(dir, &stat); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/sys/dev/block/%s/queue", number(stat.Dev))); err != nil {
		t.Skipf("%s is on no disk", dir)
	}
	return dir, stat.Dev
}

func number(device uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device))
}

func ioCgroup(t *testing.T, l *pod.IOLimits) *cgroup {
	t.Helper()
	if h := findHierarchies(cgroupRoot); !h.pure && h.v1[blkio] == "" {
		t.Skip("this host cannot limit block devices")
	}
	c, err := makeCgroup(pod.Resources{IO: l}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	return c
}

// content reads a file of the cgroup, of the one version or the other.
func (c *cgroup) content(t *testing.T, v1, v2 string) string {
	t.Helper()
	path := filepath.Join(c.paths[blkio], v1)
	if c.pure {
		path = filepath.Join(c.paths[""], v2)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestIOLimits(t *testing.T) {
	_, device := disk(t)
	c := ioCgroup(t, &pod.IOLimits{BytesPerSecond: 2_000_000, OpsPerSecond: 500, Devices: []pod.DeviceLimit{
		{Kind: pod.ReadBytes, Rate: 1 << 20, Device: device}, {Kind: pod.WriteOps, Rate: 7, Device: device},
	}})
	for kind, rate := range map[pod.IOKind]int{pod.ReadBytes: 1 << 20, pod.WriteBytes: 2_000_000, pod.ReadOps: 500, pod.WriteOps: 7} {
		line := fmt.Sprintf(`(?m)^%s %d$`, number(device), rate)
		if c.pure {
			line = fmt.Sprintf(`(?m)^%s .*\b%s=%d\b`, number(device), kind, rate)
		}
		if text := c.content(t, throttles[kind], "io.max"); !regexp.MustCompile(line).MatchString(text) {
			t.Errorf("%s: %q, want %s in it", kind, text, line)
		}
	}
}

func TestIOWeight(t *testing.T) {
	disk(t)
	c := ioCgroup(t, &pod.IOLimits{Weight: 505})
	v1, v2 := c.content(t, "blkio.bfq.weight", "io.weight"), "default 5000\n"
	if want := map[bool]string{true: v2, false: "505\n"}[c.pure]; v1 != want {
		t.Errorf("%q, want %q", v1, want)
	}
}

// TestIOOfNoDevice is about a device that is not there: named, it is an error.
func TestIOOfNoDevice(t *testing.T) {
	disk(t)
	ioCgroup(t, &pod.IOLimits{OpsPerSecond: 2}).unlock() // or this host has no limits
	_, err := makeCgroup(pod.Resources{IO: &pod.IOLimits{Devices: []pod.DeviceLimit{{Kind: pod.ReadOps, Rate: 2, Device: unix.Mkdev(4095, 7)}}}}, false)
	if err == nil || !strings.Contains(err.Error(), "leave it out") {
		t.Errorf("%v", err)
	}
}

// reads is how often a reader reads, a block each time, past all caches.
const reads = 400

// TestReadPastCaches is not a test, but the reader.
func TestReadPastCaches(t *testing.T) {
	path := os.Getenv("READ_PAST_CACHES")
	if path == "" {
		t.Skip("TestIOThrottled runs it")
	}
	readPastCaches(t, path)
}

func readPastCaches(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const block = 4096
	page, err := unix.Mmap(-1, 0, block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS) // for it is aligned
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	for n := range reads {
		if got, err := unix.Pread(fd, page, int64(n)*block); err != nil || got != block {
			t.Fatalf("block %d: %d bytes, %v", n, got, err)
		}
	}
}

// TestIOThrottled lets a process read in a cgroup, slowly. When another one that has no limit has read
// all, which it began later, the first one has not come far. The kernel has counted it.
func TestIOThrottled(t *testing.T) {
	dir, device := disk(t)
	path := filepath.Join(dir, "data")
	if err := os.WriteFile(path, make([]byte, reads*4096), 0o600); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	c := ioCgroup(t, &pod.IOLimits{Devices: []pod.DeviceLimit{{Kind: pod.ReadOps, Rate: 5, Device: device}}})
	cmd := exec.Command(os.Args[0], "-test.run", "^TestReadPastCaches$")
	cmd.Env = append(os.Environ(), "READ_PAST_CACHES="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := c.start(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for c.served(t, device) == 0 {
		runtime.Gosched() // it starts
	}
	readPastCaches(t, path)
	if n := c.served(t, device); n == 0 || n > reads/2 {
		t.Errorf("%d of %d reads were served", n, reads)
	}
}

// served is how many reads of the device the kernel has counted for the cgroup.
func (c *cgroup) served(t *testing.T, device uint64) int {
	t.Helper()
	line := number(device) + ` Read (\d+)`
	if c.pure {
		line = number(device) + ` .*\brios=(\d+)`
	}
	m := regexp.MustCompile(line).FindStringSubmatch(c.content(t, "blkio.throttle.io_serviced", "io.stat"))
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
