package pod

import (
	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun/seccomp"
)

// App is the program to run, with the image's wishes and the user's overrides
// already merged and checked.
type App struct {
	// Exec is the command and its arguments; never empty. Exec[0] without a slash
	// is looked up in Env's PATH, inside the root.
	Exec []string
	// Env is KEY=value, each key once. PATH is always set.
	Env []string
	// Dir is the working directory, absolute.
	Dir string
	// User and Group are a name, a number, or an absolute path in the root whose
	// owner is meant (appc: app/user, app/group). They are resolved in the root.
	User, Group       string
	SupplementaryGIDs []uint32

	// Capabilities bounds what the app, or anything it executes, can ever hold.
	Capabilities CapabilitySet
	// NoNewPrivileges makes set-user-ID bits and file capabilities void.
	NoNewPrivileges bool
	// Seccomp is what the image's isolators take from the system calls; nil: nothing.
	Seccomp *seccomp.Restriction
	Rlimits []Rlimit

	// TTY asks for a terminal, Stdin for the input to be passed on.
	TTY, Stdin bool

	// StopSignal is what the app gets in place of SIGTERM when it is asked to end (OCI:
	// StopSignal). Never zero in a Pod that New made.
	StopSignal unix.Signal
}

// Rlimit is one resource limit; Resource is Linux's number for it (RLIMIT_NOFILE
// and so on).
type Rlimit struct {
	Resource   uint32
	Soft, Hard uint64
}
