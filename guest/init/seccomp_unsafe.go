package main

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockFilterSize is sizeof(struct sock_filter) of linux/filter.h.
const sockFilterSize = 8

var errFilterSize = errors.New("not a whole number of instructions")

// installFilter puts a seccomp filter on this thread: with PID 1 being its only one, on
// PID 1 and on all that it starts. The app inherits it whether or not it may gain
// privileges: this process still has CAP_SYS_ADMIN.
func installFilter(program string) error {
	if program == "" {
		return nil
	}
	n := len(program) / sockFilterSize
	if n*sockFilterSize != len(program) || n > unix.BPF_MAXINSNS {
		return fail("restrict", "install the seccomp filter", errFilterSize)
	}
	// A copy, for its alignment.
	filter := make([]unix.SockFilter, n)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&filter[0])), len(program)), program)
	f := unix.SockFprog{Len: uint16(n), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&f)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fail("restrict", "install the seccomp filter", errno)
	}
	return nil
}
