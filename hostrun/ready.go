package hostrun

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Ready says what keeps tier ns from running here, with the remedy; nil: nothing. A
// root image is mounted only in a run, so that this cannot foresee everything.
func Ready() error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	fs, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	switch {
	case errors.Is(err, unix.ENODEV):
		return errNoEROFS
	case err != nil:
		return errors.New("this kernel lets clearrun mount nothing (" + err.Error() + "): run it outside of containers, or ask for tier vm (--vm)")
	}
	return unix.Close(fs)
}

// Limits names those of memory, cpu and pids that cgroups of this host can keep.
func Limits() []string {
	h := findHierarchies(cgroupRoot)
	if h.pure {
		return []string{"memory", "cpu", "pids"}
	}
	var names []string
	for _, controller := range []string{"memory", "cpu", "pids"} {
		if _, ok := h.v1[controller]; ok {
			names = append(names, controller)
		}
	}
	return names
}

// Landlock is the version of this kernel's Landlock ABI, 0 if it has none in use.
func Landlock() int {
	version, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}
