package hostrun

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// start starts cmd in the cgroup. The kernel lets whoever moves a whole process wait for a
// grace period of RCU, some ten milliseconds; a process that is born in its cgroup waits for
// nothing. In version 2 a clone into it does that (clone(2), CLONE_INTO_CGROUP). In version 1
// a thread of ours goes there by itself, for as long as the clone takes: the caller stays on
// its thread. From here on sweeps may see the cgroup.
func (c *cgroup) start(cmd *exec.Cmd) error {
	defer c.unlock()
	if path, ok := c.paths[""]; ok {
		dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	back, err := c.enter()
	if err != nil {
		return fmt.Errorf("enter cgroup: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, back())
	}
	if err := back(); err != nil {
		return errors.Join(fmt.Errorf("leave the container's cgroup: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	return nil
}

// enter moves this thread into the cgroups of version 1. back moves it where it was.
func (c *cgroup) enter() (back func() error, err error) {
	var homes []*os.File
	back = func() error {
		var errs []error
		for _, f := range homes {
			_, err := f.WriteString(thisThread)
			errs = append(errs, err, f.Close())
		}
		return errors.Join(errs...)
	}
	own, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return nil, err
	}
	for controller, path := range c.paths {
		if controller == "" {
			continue
		}
		// Opened first: only who has a way back may go.
		at, _ := ownCgroup(own, controller)
		home, err := openTasks(filepath.Dir(filepath.Dir(path)), at)
		if err != nil {
			return nil, errors.Join(err, back())
		}
		homes = append(homes, home)
		if err := write(path, tasks, thisThread); err != nil {
			return nil, errors.Join(err, back())
		}
	}
	return back, nil
}

// tasks is the file of version 1 that takes threads, and thisThread the one that writes.
const (
	tasks      = "tasks"
	thisThread = "0"
)

// openTasks opens the file of the cgroup at path in the hierarchy that is mounted at mount.
func openTasks(mount, path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(mount, path, tasks), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// Of a hierarchy, a container without a cgroup namespace sees its own part alone.
		f, err = os.OpenFile(filepath.Join(mount, tasks), os.O_WRONLY, 0)
	}
	return f, err
}

// ownCgroup finds the path for a controller of version 1, or with "" that of version 2, in
// /proc/PID/cgroup (cgroups(7)): a line of ID:CONTROLLERS:PATH for each hierarchy.
func ownCgroup(file []byte, controller string) (path string, found bool) {
	for line := range bytes.Lines(file) {
		fields := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for c := range strings.SplitSeq(fields[1], ",") {
			if c == controller {
				return fields[2], true
			}
		}
	}
	return "/", false
}
