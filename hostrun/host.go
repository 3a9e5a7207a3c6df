package hostrun

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
	"github.com/clearrun/clearrun/pod"
)

// hostTrees are what an app at tier host sees of the host's files beside its volumes.
func hostTrees() []string { return []string{"/proc", "/sys", "/dev"} }

// openHostTrees makes a mount of each, as it is.
func openHostTrees() ([]*os.File, error) { return openHostPaths(hostTrees(), unix.O_DIRECTORY, 0) }

// openHostPaths makes a mount with these attributes of what is at each of paths on the host,
// opened with these flags besides.
func openHostPaths(paths []string, flags int, attributes uint64) (mounts []*os.File, err error) {
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
		var mount *os.File
		if err == nil {
			mount, err = cloneTree(fd, attributes)
			unix.Close(fd)
		}
		if err != nil {
			closeAll(mounts)
			return nil, fmt.Errorf("mount the host's %s: %w", path, err)
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
}

// volumesAt shows the app such mounts at the same paths.
func volumesAt(paths []string) (volumes []proto.Volume) {
	for _, path := range paths {
		volumes = append(volumes, proto.Volume{Target: path, Name: path})
	}
	return volumes
}

// maxHostFile bounds what is taken over of the host's /etc, in bytes.
const maxHostFile = 64 << 10

// hostFiles gives an app with the host's network what it needs to find others there.
func hostFiles(start *proto.Start) error {
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		content, err := readHostFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		setFile(start, proto.File{Path: path, Content: content, Mode: 0o644})
	}
	return nil
}

// readHostFile reads a small file, or its beginning.
func readHostFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxHostFile))
	return string(data), err
}

// setFile adds a file, or replaces the one of its path.
func setFile(start *proto.Start, f proto.File) {
	for i := range start.Files {
		if start.Files[i].Path == f.Path {
			start.Files[i] = f
			return
		}
	}
	start.Files = append(start.Files, f)
}

// hostStart is the message for tier host: nothing is hidden, and no call is filtered.
func hostStart(start *proto.Start, p *pod.Pod) error {
	start.Volumes = append(volumesAt(hostTrees()), start.Volumes...)
	start.OverlaySize = overlaySize(p.Resources.MemoryBytes)
	return hostFiles(start)
}

// hostCgroup marks the cgroups of tier host, whose processes do not end with their PID 1.
const hostCgroup = "host-"

// hold takes the lock that says that this run goes on. It ends with this process.
func hold(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// killAbandoned kills what a killed run of tier host has left in a cgroup.
func killAbandoned(path string) {
	if !strings.HasPrefix(filepath.Base(path), hostCgroup) {
		return
	}
	f, err := hold(path)
	if err != nil {
		return // its run goes on
	}
	defer f.Close()
	if write(path, "cgroup.kill", "1") == nil { // version 2
		return
	}
	procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(procs)) {
		var pid int
		if _, err := fmt.Sscan(line, &pid); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
