package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// confine takes from this process whatever a running VM does not need: core
// dumps, new privileges, growing files, and by a seccomp filter all system
// calls that open, execute, connect or trace anything.
//
// All threads get the filter, which is why it comes after the machine is
// built: the vCPU threads are started under it.
func confine() error {
	// no_new_privs is a thread's: the filter must be put on by the same one, which
	// passes both on to the others.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core limit: %w", err)
	}
	return installFilter(allowedCalls)
}

// allowedCalls is what a running monitor uses: KVM and its devices' data paths,
// and what the Go runtime needs for memory, threads and timers. Everything
// else kills the process.
var allowedCalls = []uint32{
	// Devices: eventfds, the root image, sockets handed out for vsock, entropy.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PREADV,
	unix.SYS_SOCKETPAIR, unix.SYS_SENDMSG, unix.SYS_SHUTDOWN, unix.SYS_CLOSE, unix.SYS_GETRANDOM,
	unix.SYS_LSEEK, unix.SYS_FSTAT,
	// KVM, and kicking a vCPU out of the guest.
	unix.SYS_IOCTL, unix.SYS_TGKILL, unix.SYS_GETTID, unix.SYS_GETPID,
	// The runtime: memory.
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_MPROTECT, unix.SYS_PRCTL,
	// The runtime: threads, signals, scheduling.
	unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
	unix.SYS_FUTEX, unix.SYS_SIGALTSTACK, unix.SYS_RT_SIGPROCMASK,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGRETURN, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_RESTART_SYSCALL,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER,
	// The runtime: its poller.
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_FCNTL,
	// The end.
	unix.SYS_GETRUSAGE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}
