package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mappedRoot is for root of a user namespace with all capabilities: they hold for what is of
// the namespace, and for nothing of the host's.
func mappedRoot() error {
	errs := []error{hostFiles(), beyondTheMap(), mountedCgroups()}
	for _, d := range []struct{ mode, major, minor uint32 }{{unix.S_IFCHR, 1, 1}, {unix.S_IFBLK, 254, 0}, {unix.S_IFBLK, 7, 0}} {
		errs = append(errs, refused("make a device", unix.Mknod("/probe-device", d.mode|0o666, int(unix.Mkdev(d.major, d.minor)))))
	}
	var t unix.Timespec
	errs = append(errs, unix.ClockGettime(unix.CLOCK_REALTIME, &t))
	fd, handle, err := someHandle()
	if err == nil {
		_, err = unix.OpenByHandleAt(fd, handle, unix.O_RDONLY)
	}
	errs = append(errs, refused("open by handle", err),
		refused("set the clock", unix.ClockSettime(unix.CLOCK_REALTIME, &t)),
		refused("raise a hard limit", raiseLimit()),
		refused("clear the kernel's log", clearLog()),
		refused("mount a disk's file system", unix.Mount("/dev/null", "/proc", "ext4", 0, "")))
	return errors.Join(errs...)
}

// hostFiles tries to have a /proc and /sys without what is masked and read-only, and to write through
// all that there are.
func hostFiles() error {
	places := []string{"/proc"}
	if err := os.MkdirAll("/probe-proc", 0o755); err == nil && unix.Mount("proc", "/probe-proc", "proc", 0, "") == nil {
		places = append(places, "/probe-proc")
	}
	_ = unix.Unmount("/proc/sys", unix.MNT_DETACH)
	_ = unix.Unmount("/proc/sysrq-trigger", unix.MNT_DETACH)
	_ = unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "")
	var paths []string
	for _, place := range places {
		for _, path := range []string{"/sysrq-trigger", "/sys/kernel/core_pattern", "/sys/kernel/modprobe", "/sys/vm/drop_caches", "/sys/kernel/sysrq"} {
			paths = append(paths, place+path)
		}
	}
	return written(append(paths, "/sys/kernel/uevent_helper", "/sys/kernel/profiling", "/sys/power/state", "/sys/module/kernel/parameters/panic")...)
}

// mountedCgroups mounts all hierarchies of cgroups that it can, and tries to have the host run a program
// (CVE-2022-0492), to leave the limits, and to raise them.
func mountedCgroups() error {
	const dir = "/probe-cgroup"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, controller := range []string{"", "memory", "cpu", "cpuset", "pids", "devices", "freezer", "blkio", "none,name=systemd", "none,name=probe"} {
		fsType := "cgroup"
		if controller == "" {
			fsType = "cgroup2"
		}
		if unix.Mount("cgroup", dir, fsType, 0, controller) != nil {
			continue
		}
		var paths []string
		for _, file := range []string{"release_agent", "notify_on_release", "cgroup.procs", "cgroup.subtree_control", "tasks", "memory.max", "memory.limit_in_bytes", "pids.max", "devices.allow"} {
			paths = append(paths, dir+"/"+file)
		}
		errs = append(errs, written(paths...), refused("make a cgroup ("+controller+")", os.Mkdir(dir+"/probe", 0o755)), unix.Unmount(dir, 0))
	}
	return errors.Join(errs...)
}

// clearLog clears the kernel's log, or says why that cannot be.
func clearLog() error {
	_, err := unix.Klogctl(unix.SYSLOG_ACTION_CLEAR, nil)
	return err
}

// beyondTheMap tries to be somebody, and give files to somebody, outside of the map, and to change it.
func beyondTheMap() error {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	outside := 0 // the first ID that is in no row
	for line := range strings.Lines(string(data)) {
		var inside, host, count int
		if _, err := fmt.Sscan(line, &inside, &host, &count); err != nil {
			return err
		}
		if host == 0 {
			return errors.New("root of the host is in the map")
		}
		outside = max(outside, inside+count)
	}
	if err := os.WriteFile("/probe-file", nil, 0o600); err != nil {
		return err
	}
	_, _, setuid := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(outside), uintptr(outside), uintptr(outside))
	var errs []error
	if setuid == 0 {
		errs = append(errs, refused("become an ID outside of the map", nil))
	}
	return errors.Join(append(errs,
		refused("give a file away", unix.Chown("/probe-file", outside, outside)),
		written("/proc/self/uid_map", "/proc/self/gid_map"))...)
}

// someHandle gives a handle of the root directory.
func someHandle() (int, unix.FileHandle, error) {
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/", 0)
	if err != nil {
		return -1, handle, err
	}
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	return fd, handle, err
}

func raiseLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Max == unix.RLIM_INFINITY {
		return unix.EPERM // there is nothing to raise
	}
	limit.Max++
	return unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &limit, nil)
}
