package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/vmm"
)

// cpuTime is what the process has used, in nanoseconds, vCPUs included.
func cpuTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// sinceStart is the time from began, in nanoseconds of CLOCK_MONOTONIC, to now; nothing if
// began is 0.
func sinceStart(began int64) time.Duration {
	var now unix.Timespec
	if began == 0 || unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return time.Duration(max(now.Nano()-began, 0))
}

// usage holds what the kernel tells of this process's memory, opened before there is a
// filter. A file that could not be opened, or was not asked for, is nil, and tells nothing.
type usage struct{ smaps, pagemap *os.File }

func openUsage() *usage {
	u := &usage{}
	u.smaps, _ = os.Open("/proc/self/smaps_rollup")
	u.pagemap, _ = os.Open("/proc/self/pagemap")
	return u
}

func (u *usage) close() {
	u.smaps.Close()
	u.pagemap.Close()
}

// memory gives the process's resident memory in bytes, and how much of it is the guest's.
// What cannot be told is 0.
func (u *usage) memory(m *vmm.Machine) (total, guest uint64) {
	guest, _ = m.TouchedMemory(u.pagemap)
	lines := bufio.NewScanner(u.smaps)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "Rss:" {
			kib, _ := strconv.ParseUint(fields[1], 10, 64)
			return kib << 10, guest
		}
	}
	return 0, guest
}
