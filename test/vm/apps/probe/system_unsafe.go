package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// currentCPU gives the CPU that the calling thread is on.
func currentCPU() (int, error) {
	var cpu uint32
	_, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(cpu), nil
}
