package hostrun

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Ready says what keeps tier ns from running here, with the remedy; nil: nothing. A
// root image is mounted only in a run, so that this cannot foresee everything.
func Ready() error {
	if os.Geteuid() != 0 {
		return readyForUser()
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

// readyForUser tries to make a user namespace, as a run does.
func readyForUser() error {
	maps, err := userMaps()
	if err != nil {
		return err
	}
	s := &stage{config: stageConfig{Parent: os.Getpid(), Try: true}}
	_, stderr, err := s.run(context.Background(), maps)
	if err != nil {
		return err
	}
	return stderr.Close()
}

// UserIDs is how many user and group IDs a container of this user's has: 1, or with
// ranges of subuid(5) and subgid(5) many.
func UserIDs() uint32 {
	maps, err := userMaps()
	if err != nil {
		return 1
	}
	return maps.count
}

// Limits names those of memory, cpu, pids and io that cgroups of this host can keep.
func Limits() []string {
	h := findHierarchies(cgroupRoot)
	if os.Geteuid() != 0 {
		h = delegated(cgroupRoot, ownCgroups)
	}
	var names []string
	if h.pure {
		has, err := os.ReadFile(filepath.Join(h.v2, "cgroup.controllers"))
		if err != nil {
			return nil
		}
		for _, name := range strings.Fields(string(has)) {
			if slices.Contains([]string{"memory", "cpu", "pids", "io"}, name) {
				names = append(names, name)
			}
		}
		return names
	}
	for _, controller := range []string{"memory", "cpu", "pids"} {
		if _, ok := h.v1[controller]; ok {
			names = append(names, controller)
		}
	}
	if _, ok := h.v1[blkio]; ok {
		names = append(names, "io")
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
