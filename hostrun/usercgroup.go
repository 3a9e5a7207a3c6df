package hostrun

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
)

var errNoDelegation = errors.New("limits on memory and CPUs need a cgroup of version 2 that is yours: " +
	"run clearrun by systemd-run --user --scope, or as root, or ask for tier vm (--vm)")

// userHierarchies are the cgroups that a user who is not root may make: below one of version 2
// that was delegated (cgroups(7)), as systemd does for each user. Without one, p has no limits.
func userHierarchies(p *pod.Pod) (hierarchies, error) {
	h := delegated(cgroupRoot, ownCgroups)
	if h.v2 == "" {
		return h, p.WithoutLimits(pod.AllLimits, errNoDelegation)
	}
	return h, h.forgo(p)
}

// keeper is what keeps a limit.
type keeper struct {
	limit      pod.Limits
	controller string // its name in version 1
	what       string
}

func keepers() []keeper {
	return []keeper{
		{pod.LimitMemory, "memory", "memory"},
		{pod.LimitCPUs, "cpu", "CPUs"},
		{pod.LimitProcesses, "pids", "processes"},
		{pod.LimitIO, blkio, "block devices"},
	}
}

// forgo takes those limits from p whose controllers were not delegated: systemd gives users no io,
// unless the administrator says so. What is delegated shows once this process has passed it on.
func (h hierarchies) forgo(p *pod.Pod) error {
	h = h.neededFor(p.Resources)
	parent, err := h.parent(h.v2, true)
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	passed, err := os.ReadFile(filepath.Join(parent, subtreeControl))
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	for _, k := range keepers() {
		name := inV2(k.controller)
		if !slices.Contains(h.controllers, k.controller) || slices.Contains(strings.Fields(string(passed)), name) {
			continue
		}
		err := p.WithoutLimits(k.limit, fmt.Errorf("limits on %s need the controller %s, which %s, the cgroup that is yours, does not pass on: "+
			"have it delegated (for systemd: Delegate=cpu io memory pids in user@.service), or run clearrun as root", k.what, name, h.v2))
		if err != nil {
			return err
		}
	}
	return nil
}

const ownCgroups = "/proc/self/cgroup"

// delegated looks for the highest cgroup that is the user's on the way to this process's own: there
// the controllers are that the user was given, and this process can be moved from.
func delegated(root, own string) hierarchies {
	h := findHierarchies(root)
	if !h.pure {
		return hierarchies{}
	}
	text, err := os.ReadFile(own)
	if err != nil {
		return hierarchies{}
	}
	path, found := ownCgroup(text, "")
	if !found {
		return hierarchies{}
	}
	dir := root
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		dir = filepath.Join(dir, part)
		if writable(dir) && writable(filepath.Join(dir, "cgroup.procs")) {
			h.v2 = dir
			return h
		}
	}
	return hierarchies{}
}

func writable(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS) == nil
}

// take moves a process that the stage has started into the cgroup, which is one of version 2. It does
// not start there, so that the image's files, which the stage has brought into memory, are the
// user's and do not count against the app's limit.
func (c *cgroup) take(pid int) error {
	defer c.unlock()
	for _, path := range c.paths {
		if err := write(path, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	return nil
}
