package main

import (
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// maxCapability is the highest number that a CapabilitySet can hold.
const maxCapability = 63

// restrict puts on this process what the app shall inherit and fork cannot be told:
// umask, resource limits, the bounding set, no_new_privs and the seccomp filter. The
// latter three belong to the thread, so the caller stays on it until it has forked. The function
// returned takes back the limits.
func (p platform) restrict(start *proto.Start) (restore func(), err error) {
	unix.Umask(int(start.Umask & 0o777))
	if err := p.restrictThread(start); err != nil {
		return nil, err
	}
	return setRlimits(start.Rlimits)
}

// restrictThread drops capabilities from the bounding set, and with it from what
// any program may gain by execve. In a VM, this thread's own permitted set stays: it is yet
// to kill and power off. In a container it is the host's, and is cut before the app can see it.
func (p platform) restrictThread(start *proto.Start) error {
	if start.Capabilities == proto.AllCapabilities && !start.NoNewPrivileges && start.Seccomp == "" {
		return nil // and the runtime is spared another thread
	}
	if !oneThread {
		runtime.LockOSThread()
	}
	for n := range maxCapability + 1 {
		if start.Capabilities.Has(n) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0)
		if err == unix.EINVAL {
			break // the kernel has no such capability, nor higher ones
		}
		if err != nil {
			return fail("restrict", "drop capability "+decimal(n), err)
		}
	}
	if p.shared {
		if err := landlock(start); err != nil {
			return err
		}
	}
	if start.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fail("restrict", "set no_new_privs", err)
		}
	}
	// Last, so that the filter need not let through what comes before it.
	if err := installFilter(start.Seccomp); err != nil {
		return err
	}
	if !p.shared {
		return nil
	}
	return shed(forStart(start))
}

// setRlimits sets limits on this process, for the app to inherit.
func setRlimits(limits []proto.Rlimit) (restore func(), err error) {
	old := make([]unix.Rlimit, len(limits))
	for i, l := range limits {
		limit := unix.Rlimit{Cur: l.Soft, Max: l.Hard}
		if err := unix.Prlimit(0, int(l.Resource), &limit, &old[i]); err != nil {
			return nil, fail("restrict", "set resource limit "+decimal(int(l.Resource)), err)
		}
	}
	return func() {
		for i := len(limits) - 1; i >= 0; i-- {
			// PID 1 can live with the app's limits, should this fail.
			_ = unix.Prlimit(0, int(limits[i].Resource), &old[i], nil)
		}
	}, nil
}

func decimal(n int) string { return strconv.Itoa(n) }
