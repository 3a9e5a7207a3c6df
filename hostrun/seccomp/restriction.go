package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Restriction takes system calls from what a filter lets through. It adds none.
type Restriction struct {
	denied [callEnd]bool
	beyond bool   // calls from callEnd on are denied, too
	action uint32 // SECCOMP_RET_*, for the calls denied
	note   string // how this differs from what was asked for; "" if it does not
}

// callEnd is above all numbers of system calls that have a name.
const callEnd = 512

// Sets that stand for many names (appc spec, ace.md; rkt, seccomp-guide.md). Those of rkt
// and docker are one and the same, and here come from the profile.
const (
	setAll       = "@appc.io/all"
	setEmpty     = "@appc.io/empty"
	setBlacklist = "/default-blacklist"
	setWhitelist = "/default-whitelist"
)

// lifeCycle are calls that PID 1 makes once the filter is on, to start the app, carry its
// streams and report its end: the filter is its own as well. No Restriction denies them.
var lifeCycle = [...]uint16{
	unix.SYS_OPENAT, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_PPOLL, unix.SYS_SPLICE, unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_MUNMAP,
	unix.SYS_MADVISE, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_IOCTL, unix.SYS_SHUTDOWN, unix.SYS_CLONE, unix.SYS_EXECVE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_WAIT4,
	unix.SYS_KILL, unix.SYS_TGKILL, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_FCNTL, unix.SYS_CHDIR, unix.SYS_SETSID,
	unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETGROUPS, unix.SYS_CAPGET, unix.SYS_CAPSET, unix.SYS_PRCTL,
	unix.SYS_PRLIMIT64, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_SIGNALFD4, unix.SYS_NEWFSTATAT, unix.SYS_FUTEX,
	unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_RESTART_SYSCALL,
}

// Remove denies the calls of a set: names of system calls, or of sets. They fail with
// errno, a name such as EPERM, or end the app by SIGSYS if that is empty. A nil
// Restriction denies nothing. Names that only other architectures have are passed over.
func Remove(set []string, errno string) (*Restriction, error) {
	r, calls, whole, err := resolve(set, errno, setEmpty)
	if err != nil || whole {
		return nil, err
	}
	r.denied = calls
	if kept := r.spare(); len(kept) > 0 {
		r.note = "except " + strings.Join(kept, ", ") + ", which PID 1 needs"
	}
	return r, nil
}

// Retain denies all calls but those of a set. Arguments and results are as for Remove.
func Retain(set []string, errno string) (*Restriction, error) {
	r, calls, whole, err := resolve(set, errno, setAll)
	if err != nil || whole {
		return nil, err
	}
	r.beyond = true
	known := profiled()
	var notes []string
	for n := range calls {
		r.denied[n] = !calls[n]
		if calls[n] && !known[n] && notes == nil {
			notes = []string{"less what the profile denies"}
		}
	}
	if kept := r.spare(); len(kept) > 0 {
		notes = append(notes, fmt.Sprintf("and %d more that PID 1 needs", len(kept)))
	}
	r.note = strings.Join(notes, ", ")
	return r, nil
}

// spare lets through what PID 1 needs, and names what had been denied of that.
func (r *Restriction) spare() (names []string) {
	for _, n := range lifeCycle {
		if r.denied[n] {
			names = append(names, nameOf(n))
		}
		r.denied[n] = false
	}
	return names
}

// Note says how the Restriction differs from what was asked for, "" if it does not.
func (r *Restriction) Note() string { return r.note }

// Allowed counts the named calls that are let through.
func (r *Restriction) Allowed() (n int) {
	for _, c := range names {
		if c.number >= 0 && !r.denied[c.number] {
			n++
		}
	}
	return n
}

// resolve reads a set; whole says that it holds the word which makes all others void.
func resolve(set []string, errno, word string) (r *Restriction, calls [callEnd]bool, whole bool, err error) {
	r = &Restriction{action: unix.SECCOMP_RET_KILL_PROCESS}
	if len(set) == 0 {
		return nil, calls, false, errors.New("the set is empty")
	}
	if errno != "" {
		if r.action, err = answer(errno); err != nil {
			return nil, calls, false, err
		}
	}
	for _, name := range set {
		if name == word {
			whole = true
		} else if err := addNamed(&calls, name); err != nil {
			return nil, calls, false, err
		}
	}
	return r, calls, whole, nil
}

// addNamed adds one call, or those of a set.
func addNamed(calls *[callEnd]bool, name string) error {
	if !strings.HasPrefix(name, "@") {
		i, found := slices.BinarySearchFunc(names[:], name, func(c named, name string) int { return strings.Compare(c.name, name) })
		if !found {
			return fmt.Errorf("%.40q is not a system call", name)
		}
		if n := names[i].number; n >= 0 {
			calls[n] = true
		}
		return nil
	}
	scope, rest, _ := strings.Cut(name, "/")
	rest = "/" + rest
	white := rest == setWhitelist
	switch {
	case name == setEmpty:
		return nil
	case name == setAll:
		for n := range calls {
			calls[n] = true
		}
		return nil
	case (scope == "@docker" || scope == "@rkt") && (white || rest == setBlacklist):
	default:
		return fmt.Errorf("%.40q is not a set of system calls: known are @appc.io/all, @appc.io/empty, and default-whitelist and default-blacklist of @docker and @rkt", name)
	}
	known := profiled()
	for _, c := range names {
		if c.number >= 0 && known[c.number] == white {
			calls[c.number] = true
		}
	}
	return nil
}

// profiled are the calls that the profile lets through, with some arguments at least,
// without a capability. One that it has fail in a special way counts: an app is not to
// be killed for it.
func profiled() (calls [callEnd]bool) {
	for _, r := range profile {
		if r.caps == 0 {
			for _, n := range r.calls {
				calls[n] = true
			}
		}
	}
	return calls
}

func nameOf(n uint16) string {
	for _, c := range names {
		if c.number == int16(n) {
			return c.name
		}
	}
	return fmt.Sprint(n)
}

// errnoEnd is above all error numbers of Linux that have a name.
const errnoEnd = 134

// answer is what a call gives that fails with an error of this name.
func answer(name string) (uint32, error) {
	switch name { // the second names of three
	case "EWOULDBLOCK":
		return errno(unix.EAGAIN), nil
	case "EDEADLOCK":
		return errno(unix.EDEADLK), nil
	case "ENOTSUP":
		return errno(unix.EOPNOTSUPP), nil
	}
	for n := unix.Errno(1); n < errnoEnd; n++ {
		if unix.ErrnoName(n) == name {
			return errno(n), nil
		}
	}
	return 0, fmt.Errorf("errno %.40q is not the name of an error, such as EPERM", name)
}

// restrict answers the calls that r denies, and goes on with all others.
func (a *assembler) restrict(r *Restriction) {
	if r == nil {
		return
	}
	for first := 0; first < callEnd; first++ {
		if !r.denied[first] {
			continue
		}
		last := first
		for last+1 < callEnd && r.denied[last+1] {
			last++
		}
		a.jump(unix.BPF_JGE, uint32(first), 0, 2)
		a.jump(unix.BPF_JGT, uint32(last), 1, 0)
		a.give(r.action)
		first = last
	}
	if r.beyond {
		a.jump(unix.BPF_JGE, callEnd, 0, 1)
		a.give(r.action)
	}
}
