package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"

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

// residentSet gives the process's resident memory in bytes, and how much of
// it is guest memory (by mincore, since smaps would need parsing at length).
func residentSet(smaps *os.File, m *vmm.Machine) (total, guest uint64) {
	guest = m.ResidentMemory()
	if smaps == nil {
		return 0, guest
	}
	if _, err := smaps.Seek(0, io.SeekStart); err != nil {
		return 0, guest
	}
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "Rss:" {
			kib, _ := strconv.ParseUint(fields[1], 10, 64)
			return kib << 10, guest
		}
	}
	return 0, guest
}
