package main

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// What is different for PID 1 in a user namespace, where clearrun has not all rights of root,
// or shall not have them (proto.Start, IDs). Its devices are the host's, mounted like volumes.

// kernelMounts is how many of appMounts, the first of them, can be mounted in a user namespace
// only while the host's own are to be seen (user_namespaces(7), and mount_too_revealing in
// Linux, fs/namespace.c).
const kernelMounts = 2

// kernelFiles are these, mounted, though nowhere yet. Without a user namespace nobody
// looks at them.
type kernelFiles [kernelMounts]int

func mountKernelFiles(start *proto.Start) (files kernelFiles, err error) {
	table := appMounts()
	for i := range files {
		m := &table[i]
		fd, err := mountDetached(m)
		if err == unix.EPERM && start.HostNetwork && m.fsType == "sysfs" {
			// It shows the network's devices, which are not the user namespace's.
			fd, err = cloneReadOnly(m.target)
		}
		if err != nil {
			return files, fail("container", "mount "+m.fsType+" in a user namespace", err)
		}
		files[i] = fd
	}
	return files, nil
}

// mountDetached mounts a row of a table without its place.
func mountDetached(m *mount) (int, error) {
	fs, err := unix.Fsopen(m.fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	// Up to noexec, flags of a mount have the same numbers as its attributes.
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(m.flags))
}

// cloneReadOnly gives a mount of what is mounted on path, and all below it.
func cloneReadOnly(path string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, err
	}
	return fd, unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_RDONLY | noSpecials, Propagation: unix.MS_PRIVATE,
	})
}

// mountSystem mounts appMounts, with what mountKernelFiles has made for the first of them.
func (p platform) mountSystem(start *proto.Start) error {
	table := appMounts()
	if start.IDs == 0 {
		return mountAll(labelled(table, start.MountLabel))
	}
	for i, fd := range p.kernelFiles {
		target := table[i].target
		err := moveTo(fd, target)
		if err == unix.ENOENT && makeDirs(target, 0o755) == nil {
			err = moveTo(fd, target)
		}
		if err != nil {
			return fail("mount", "mount "+table[i].fsType+" on "+target, err)
		}
		unix.Close(fd)
	}
	table = table[kernelMounts:]
	if start.IDs == 1 { // there is no group for terminals
		for i := range table {
			table[i].data = strings.TrimSuffix(table[i].data, ",gid=5")
		}
	}
	return mountAll(labelled(table, start.MountLabel))
}

func moveTo(fd int, target string) error {
	return unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

var errNoID = errors.New("this container's user namespace has no such ID: see subuid(5) and subgid(5) about ranges of IDs for users")

// fit checks that the identity exists in a user namespace of so many IDs.
func (id *identity) fit(ids uint32) error {
	if ids == 1 {
		id.groups = nil // they cannot be changed
	}
	for _, n := range append([]uint32{id.uid, id.gid}, id.groups...) {
		if n >= ids {
			return fail("user", "run as user or group "+decimal(int(n)), errNoID)
		}
	}
	return nil
}
