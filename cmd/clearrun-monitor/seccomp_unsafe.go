package main

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layout of struct seccomp_data (linux/seccomp.h), in bytes.
const (
	seccompNumber = 0
	seccompArch   = 4
)

// maxJump is how far a classic BPF branch reaches.
const maxJump = 255

// program builds the filter: kill what is of another architecture, allow what
// is listed, kill the rest.
func program(allowed []uint32) ([]unix.SockFilter, error) {
	if len(allowed) >= maxJump {
		return nil, fmt.Errorf("%d system calls are more than one branch can span", len(allowed))
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	equal := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	give := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	p := []unix.SockFilter{
		load(seccompArch),
		equal(unix.AUDIT_ARCH_X86_64, 1, 0),
		give(unix.SECCOMP_RET_KILL_PROCESS),
		load(seccompNumber),
	}
	for i, n := range allowed {
		p = append(p, equal(n, uint8(len(allowed)-i), 0))
	}
	return append(p, give(unix.SECCOMP_RET_KILL_PROCESS), give(unix.SECCOMP_RET_ALLOW)), nil
}

// installFilter puts the filter on all threads of the process.
func installFilter(allowed []uint32) error {
	p, err := program(allowed)
	if err != nil {
		return err
	}
	f := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f)))
	runtime.KeepAlive(p)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("seccomp: thread %d has a filter of its own", thread)
	}
	return nil
}
