package hostrun

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
)

// cgroupRoot is where cgroups are mounted, by convention.
const cgroupRoot = "/sys/fs/cgroup"

// cgroupParent holds the cgroups of all containers, one each.
const cgroupParent = "clearrun"

// defaultPIDs bounds the processes of a container: those of a fork bomb are the host's.
const defaultPIDs = 4096

// hierarchies are the host's: version 2 alone, or controllers of version 1, perhaps
// with version 2 beside them for no limits at all ("hybrid").
type hierarchies struct {
	v2   string            // "" if there is none
	v1   map[string]string // controller: where it is mounted
	pure bool              // v2 has the controllers
	// controllers are those whose limits are of use, by their names in version 1.
	controllers []string
}

// allControllers are those that clearrun knows.
func allControllers() []string { return []string{"memory", "cpu", "pids", blkio} }

// findHierarchies looks below root.
func findHierarchies(root string) hierarchies {
	h := hierarchies{v1: map[string]string{}, controllers: allControllers()}
	if magic(root) == unix.CGROUP2_SUPER_MAGIC {
		h.v2, h.pure = root, true
		return h
	}
	if unified := filepath.Join(root, "unified"); magic(unified) == unix.CGROUP2_SUPER_MAGIC {
		h.v2 = unified
	}
	for _, controller := range h.controllers {
		if dir := filepath.Join(root, controller); magic(dir) == unix.CGROUP_SUPER_MAGIC {
			h.v1[controller] = dir
		}
	}
	return h
}

func magic(path string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0
	}
	return int64(s.Type)
}

// dirs are the mount points, those of version 1 by controller and version 2 as "".
func (h hierarchies) dirs() map[string]string {
	dirs := map[string]string{}
	for controller, dir := range h.v1 {
		dirs[controller] = dir
	}
	if h.v2 != "" {
		dirs[""] = h.v2
	}
	return dirs
}

// cgroup is a container's, in each hierarchy.
type cgroup struct {
	paths map[string]string // by controller; "" is version 2's
	pure  bool
	held  []*os.File // locks of tier host
	lock  *os.File   // until there is a process in it
}

// makeCgroup makes a cgroup with the limits of r, for a process to start in. What killed
// runs have left is removed first.
func makeCgroup(r pod.Resources, host bool) (*cgroup, error) {
	return findHierarchies(cgroupRoot).makeCgroup(r, host)
}

func (h hierarchies) makeCgroup(r pod.Resources, host bool) (_ *cgroup, err error) {
	all := h
	h = h.neededFor(r)
	lock, err := h.lock()
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	if lock == nil {
		if r != (pod.Resources{}) {
			return nil, errors.New("no cgroups are mounted at " + cgroupRoot +
				", so that limits on memory, CPUs and devices cannot be kept: mount them, or ask for tier vm (--vm)")
		}
		return &cgroup{}, nil
	}
	all.sweep()
	c := &cgroup{paths: map[string]string{}, pure: h.pure, lock: lock}
	defer func() {
		if err != nil {
			c.remove()
		}
	}()
	name := fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()[:8])
	if host {
		name = hostCgroup + name
	}
	for controller, dir := range h.dirs() {
		path := filepath.Join(dir, cgroupParent, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return nil, fmt.Errorf("make a cgroup: %w", err)
		}
		c.paths[controller] = path
		if !host {
			continue
		}
		held, err := hold(path)
		if err != nil {
			return nil, fmt.Errorf("lock a cgroup: %w", err)
		}
		c.held = append(c.held, held)
	}
	return c, c.limit(r)
}

// unlock lets others sweep.
func (c *cgroup) unlock() {
	if c.lock != nil {
		c.lock.Close() // and with it the lock
		c.lock = nil
	}
}

// lock makes the parents and takes the lock that keeps sweeps from new cgroups without
// a process yet. It is nil where there are no cgroups.
func (h hierarchies) lock() (*os.File, error) {
	var lock *os.File
	for _, controller := range append([]string{""}, h.controllers...) {
		dir, ok := h.dirs()[controller]
		if !ok {
			continue
		}
		parent, err := h.parent(dir, controller == "" && h.pure)
		if err != nil {
			return nil, err
		}
		if lock != nil {
			continue
		}
		if lock, err = os.Open(parent); err != nil {
			return nil, err
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			lock.Close()
			return nil, err
		}
	}
	return lock, nil
}

// parent makes the cgroup in dir that holds those of containers, which may have limits there
// if delegate is true.
func (h hierarchies) parent(dir string, delegate bool) (string, error) {
	if delegate {
		h.delegate(dir)
	}
	parent := filepath.Join(dir, cgroupParent)
	if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	if delegate {
		h.delegate(parent)
	}
	return parent, nil
}

// subtreeControl is the file of version 2 with the controllers that a cgroup's children have.
const subtreeControl = "cgroup.subtree_control"

// delegate lets the children of a cgroup of version 2 have limits. Whether it worked
// shows when a limit is set.
func (h hierarchies) delegate(dir string) {
	for _, controller := range h.controllers {
		_ = write(dir, subtreeControl, "+"+inV2(controller))
	}
}

// inV2 is a controller's name in version 2.
func inV2(controller string) string {
	if controller == blkio {
		return "io"
	}
	return controller
}

// sweep removes cgroups without processes. The kernel keeps the others.
func (h hierarchies) sweep() {
	for _, dir := range h.dirs() {
		parent := filepath.Join(dir, cgroupParent)
		entries, err := os.ReadDir(parent)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				path := filepath.Join(parent, e.Name())
				if unix.Rmdir(path) == unix.EBUSY {
					killAbandoned(path) // and removed by the start after this one
				}
			}
		}
	}
}

// setting is one file of a cgroup.
type setting struct {
	controller, v1, v2 string // file names; "" where there is none
	v1Value, v2Value   string
	optional           bool
	fleeting           bool // its device may be gone meanwhile
}

// cpuPeriod is the kernel's default, in microseconds.
const cpuPeriod = 100_000

func settings(r pod.Resources) []setting {
	pids := strconv.Itoa(defaultPIDs)
	list := []setting{{"pids", "pids.max", "pids.max", pids, pids, true, false}}
	if r.MemoryBytes != 0 {
		n := strconv.FormatUint(r.MemoryBytes, 10)
		list = append(list,
			setting{"memory", "memory.limit_in_bytes", "memory.max", n, n, false, false},
			// No swap, as in a VM; the files are missing where there is none.
			setting{"memory", "memory.memsw.limit_in_bytes", "memory.swap.max", n, "0", true, false})
	}
	if r.CPUs != 0 {
		quota := strconv.Itoa(r.CPUs * cpuPeriod)
		period := strconv.Itoa(cpuPeriod)
		list = append(list,
			setting{"cpu", "cpu.cfs_period_us", "", period, "", false, false},
			setting{"cpu", "cpu.cfs_quota_us", "cpu.max", quota, quota + " " + period, false, false})
	}
	return list
}

// limit writes the limits, before there is anyone to exceed them.
func (c *cgroup) limit(r pod.Resources) error {
	io, err := ioSettings(r.IO)
	if err != nil {
		return err
	}
	for _, s := range append(settings(r), io...) {
		path, ok := c.paths[s.controller]
		file, value := s.v1, s.v1Value
		if c.pure {
			path, ok = c.paths[""]
			file, value = s.v2, s.v2Value
		}
		if file == "" {
			continue
		}
		err := fs.ErrNotExist
		if ok {
			err = write(path, file, value)
		}
		if err != nil && !s.optional && !(s.fleeting && errors.Is(err, unix.ENODEV)) {
			return fmt.Errorf("limit %s by a cgroup: %w: %s", s.controller, err, remedy(s.controller))
		}
	}
	return c.weigh(r.IO)
}

// remedy is for who asks for a limit that the host does not keep.
func remedy(controller string) string {
	if controller == blkio {
		return "this host lets clearrun set no such limit; leave it out"
	}
	return "this host lets clearrun set no such limit; ask for tier vm (--vm)"
}

// oomKilled reports whether the kernel has killed any process of the cgroup for want
// of memory.
func (c *cgroup) oomKilled() bool {
	path, file := c.paths["memory"], "memory.oom_control"
	if c.pure {
		path, file = c.paths[""], "memory.events"
	}
	if path == "" {
		return false
	}
	text, err := os.ReadFile(filepath.Join(path, file))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(count) != "0"
		}
	}
	return false
}

// removePatience bounds the wait for the last traces of killed processes.
const removePatience = 2 * time.Second

// remove removes the cgroup. One that cannot be removed is left to the next start.
func (c *cgroup) remove() {
	deadline := time.Now().Add(removePatience)
	defer closeAll(c.held)
	c.unlock()
	for _, path := range c.paths {
		for delay := 100 * time.Microsecond; ; delay *= 2 {
			err := unix.Rmdir(path)
			if err != unix.EBUSY || time.Now().Add(delay).After(deadline) {
				break
			}
			time.Sleep(delay)
		}
	}
}

func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
