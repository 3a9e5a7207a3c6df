package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct sigaction for rt_sigaction(2) on amd64:
//
//	struct sigaction { __sighandler_t sa_handler; unsigned long sa_flags;
//	                   __sigrestore_t sa_restorer; sigset_t sa_mask; };
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	sigDfl     = 0 // SIG_DFL: for PID 1 the kernel drops such a signal
	sigsetSize = 8 // sizeof(sigset_t) in the kernel
)

// ignoreSignals makes PID 1 deaf to the signals for which Go's runtime would end
// the process, and the kernel with it. An app that runs as root may send them; it
// could end its VM in other ways, but not by a mere "kill 1". Being at their
// defaults, the app does not inherit them as ignored.
//
// os/signal would do it at the price of the os package.
func ignoreSignals() {
	dfl := sigaction{handler: sigDfl}
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGTERM} {
		// The arguments are valid: it cannot fail.
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
			uintptr(unsafe.Pointer(&dfl)), 0, sigsetSize, 0, 0)
	}
}
