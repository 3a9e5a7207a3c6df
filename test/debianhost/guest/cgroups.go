package main

import (
	"fmt"
	"os"
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
