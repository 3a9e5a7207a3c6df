package main

//lint:file-ignore U1000 vectors_amd64.s uses what seems to be unused

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What part of the vector registers is in use.
const (
	widthXMM = iota // SSE2: 16 registers of 16 bytes
	widthYMM        // AVX: 16 of 32 bytes
	widthZMM        // AVX-512 F and BW: 32 of 64 bytes, and 8 masks
)

const (
	registerSize  = 64 // bytes between two vectors in a struct registers
	registerCount = 32
	maskCount     = 8
)

// registers is what a process holds. vectors_amd64.s knows it.
type registers struct {
	vectors [registerCount][registerSize]byte
	masks   [maskCount]uint64
	mxcsr   uint32
	_       uint32
}

// call is a system call, and the result that it must have.
type call struct {
	number uintptr
	args   [3]uintptr
	want   uintptr
}

// maxCalls is how many system calls a round may make.
const maxCalls = 3

// Numbers of the system call interface for the assembly.
const (
	interrupted   = -int(unix.EINTR)
	callSigreturn = unix.SYS_RT_SIGRETURN
)

// holding is a stretch of time over which a process keeps values in its vector
// registers. In each round it makes the calls, spins, and compares the registers with
// want. vectors_amd64.s knows it.
type holding struct {
	load, want, seen registers
	width            int
	upperUnused      int // 1: end with VZEROUPPER after the load
	calls            [maxCalls]call
	callCount        int
	spins            int
	rounds           int

	done       int // rounds that were found right
	callFailed int // 1: a system call had another result than wanted,
	result     int // this one
}

// hold does what h says.
//
//go:noescape
func hold(h *holding)

// handlers gives the addresses of a signal handler that wipes the vector registers,
// and of what must follow it.
func handlers() (wipe, restore uintptr)

// What the signal handler uses: it cannot be given anything.
var (
	wipes       int64 // how often it ran
	vectorWidth int
)

// signalAction is struct kernel_sigaction of rt_sigaction(2) on x86-64.
type signalAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// Flags of rt_sigaction(2).
const (
	onStack  = 0x08000000 // SA_ONSTACK: Go's stacks are too small
	restarts = 0x10000000 // SA_RESTART
	restorer = 0x04000000 // SA_RESTORER
)

// wipeOn makes wipe the handler of sig.
func wipeOn(sig unix.Signal) error {
	wipe, restore := handlers()
	action := signalAction{handler: wipe, flags: onStack | restarts | restorer, restorer: restore}
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0,
		unsafe.Sizeof(action.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// transfer is a call that writes or reads the byte at b.
func transfer(number uintptr, fd int, b *byte, pins *runtime.Pinner) call {
	pins.Pin(b)
	return call{number: number, args: [3]uintptr{uintptr(fd), uintptr(unsafe.Pointer(b)), 1}, want: 1}
}

// moveTo is a call that binds the calling thread to a CPU.
func moveTo(cpu int, pins *runtime.Pinner) call {
	set := new(unix.CPUSet)
	set.Set(cpu)
	pins.Pin(set)
	return call{number: unix.SYS_SCHED_SETAFFINITY, args: [3]uintptr{0, unsafe.Sizeof(*set), uintptr(unsafe.Pointer(set))}}
}
