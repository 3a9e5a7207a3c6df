package main

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// Values of the container's variable.
const (
	tierNS   = "ns"
	tierHost = "host"
)

// hostProcess is the platform of tier host. This process is not PID 1 there, but what
// the app leaves behind becomes its child all the same (PR_SET_CHILD_SUBREAPER).
func hostProcess() platform {
	return platform{dial: inherited, prepare: leaveFilesOnly, mountImage: attachImage, host: true}
}

// leaveFilesOnly takes the host's files from this process, in a mount namespace of its
// own, and nothing else.
func leaveFilesOnly(start *proto.Start) (none kernelFiles, err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return none, fail("host", "adopt orphans", err)
	}
	if err := closeInherited(start); err != nil {
		return none, fail("host", "close what was inherited", err)
	}
	return none, leaveFiles()
}

// killChildren kills all children of this process, and says whether there were any.
// Their own children become those of this process when they have ended.
func killChildren() (any bool) {
	proc, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(proc)
	self := unix.Getpid()
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(proc, buf)
		if err != nil || n <= 0 {
			return any
		}
		_, _, names := syscall.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err == nil && parentOf(pid) == self {
				any = true
				_ = unix.Kill(pid, unix.SIGKILL) // our child: nobody else has its number
			}
		}
	}
}

// parentOf gives the parent of a process, 0 if it cannot be told.
func parentOf(pid int) int {
	stat, err := readFile("/proc/" + decimal(pid) + "/stat")
	if err != nil {
		return 0
	}
	return statParent(stat)
}

// statParent takes the parent out of /proc/PID/stat (proc(5)): "PID (NAME) STATE PARENT",
// where NAME can hold anything.
func statParent(stat string) int {
	for i := len(stat) - 1; i >= 0; i-- {
		if stat[i] != ')' {
			continue
		}
		rest := stat[i+1:]
		if len(rest) < len(" S 1") {
			return 0
		}
		rest = rest[len(" S "):]
		end := 0
		for end < len(rest) && rest[end] != ' ' {
			end++
		}
		n, _ := strconv.Atoi(rest[:end])
		return n
	}
	return 0
}
