package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// fill takes more memory than 64M.
const fill = "busybox dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null; busybox dd if=/dev/zero of=/dev/shm/y bs=1M count=60"

// cgroups runs a container on a host with cgroups of version 2 alone.
func cgroups() error {
	c, err := start(memoryStore, fill, "--ns", "--memory", "64M", "--cpus", "2")
	if err != nil {
		return err
	}
	limits := ""
	for _, file := range []string{"memory.max", "memory.swap.max", "cpu.max", "pids.max"} {
		limits += file + "=" + cgroupFile(file) + " "
	}
	inside.Report("cgroup v2: limits", limits == "memory.max=67108864 memory.swap.max=0 cpu.max=200000 100000 pids.max=4096 ", limits)
	_, code, err := c.end()
	if err != nil {
		return err
	}
	inside.Report("cgroup v2: killed for want of memory", code == 137 && strings.Contains(c.stderr.String(), "memory"), quoted(code, c.stderr.String()))
	left, _ := filepath.Glob("/sys/fs/cgroup/clearrun/*/cgroup.procs")
	inside.Report("cgroup v2: nothing left", left == nil, fmt.Sprint(left))
	return nil
}

// cgroupFile reads a file of the one container's cgroup.
func cgroupFile(name string) string {
	found, _ := filepath.Glob("/sys/fs/cgroup/clearrun/*/" + name)
	if len(found) != 1 {
		return fmt.Sprintf("%q", found)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// blockDevices limits what containers do to the disk, and runs hostrun's own tests of that.
func blockDevices() error {
	c, err := start(memoryStore, "true", "--ns", "--device-read-bps", disk+":1m", "--device-write-iops", disk+":50", "--blkio-weight", "505")
	if err != nil {
		return err
	}
	limits, weight := cgroupFile("io.max"), cgroupFile("io.weight")
	inside.Report("block devices: limits", strings.HasSuffix(limits, " rbps=1048576 wbps=max riops=max wiops=50") && weight == "default 5000", limits+" "+weight)
	_, code, err := c.end()
	if err != nil {
		return err
	}
	_, refused := start(memoryStore, "true", "--ns", "--device-read-bps", "/dev/null:1m")
	inside.Report("block devices: exit code, and no device", code == 0 && refused != nil && strings.Contains(refused.Error(), "/dev/null: it is not a block device"), quoted(code, refused))
	cmd := exec.Command("/bin/hostrun.test", "-test.v", "-test.run", "^TestIO")
	cmd.Env = append(os.Environ(), "TMPDIR="+diskDir)
	out, err := cmd.CombinedOutput()
	inside.Report("hostrun's tests of block devices", err == nil && strings.Count(string(out), "--- PASS") == 4, quoted(err, string(out)))
	return nil
}
