package main

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// attachVolumes mounts what the host has opened at its place in the app's root, which is
// this process's root. What the image's links say holds inside of it, but none of
// /proc that lead to an object instead of a path.
func attachVolumes(start *proto.Start) error {
	for i := range start.Volumes {
		target := start.Volumes[i].Target
		tree := inheritedEnd + i
		place, err := volumePlace(tree, target)
		if err == nil {
			err = unix.MoveMount(tree, "", place, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
			unix.Close(place)
		}
		if err != nil {
			return fail("volume", "mount volume "+start.Volumes[i].Name, err)
		}
		unix.Close(tree)
	}
	return nil
}

// Why a volume may not be where it was to be.
var (
	errKernelFiles    = errors.New("it would cover files of the kernel's")
	errFolderOverFile = errors.New("it is a folder, and there is a file at its target: name another target, or a file to cover that one")
	errFileOverFolder = errors.New("it is a file, and there is a folder at its target: name another target, such as a file in that folder")
	errBelowFile      = errors.New("a part of its target's path is a file: name another target")
)

// fits says whether a volume can cover what is in its place. The kernel mounts no folder over a file,
// nor a file over a folder.
func fits(volume, place uint32) error {
	const folder = unix.S_IFDIR
	switch volume, place := volume&unix.S_IFMT, place&unix.S_IFMT; {
	case volume == folder && place != folder:
		return errFolderOverFile
	case volume != folder && place == folder:
		return errFileOverFolder
	}
	return nil
}

// volumePlace gives a handle of target, which is made if nothing is there: whatever
// happens to the path later, the mount lands on what was checked.
func volumePlace(tree int, target string) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return -1, err
	}
	fd, err := openInRoot(target)
	if err == unix.ENOENT {
		fd, err = makeInRoot(target, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	}
	if err == unix.ENOTDIR {
		return -1, errBelowFile
	}
	if err != nil {
		return -1, err
	}
	if err := coverable(fd, st.Mode); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// coverable says whether a volume may cover the place that was opened.
func coverable(place int, volume uint32) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(place, &fs); err != nil {
		return err
	}
	switch fs.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return errKernelFiles
	}
	var st unix.Stat_t
	if err := unix.Fstat(place, &st); err != nil {
		return err
	}
	return fits(volume, st.Mode)
}

// openInRoot resolves a path of the app's root.
func openInRoot(path string) (int, error) {
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	return unix.Openat2(root, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// makeInRoot makes a directory or an empty file with all that leads to it.
func makeInRoot(path string, directory bool) (int, error) {
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return -1, errRelative
	}
	parent, err := openInRoot("/" + path[:slash])
	if err == unix.ENOENT && slash > 0 {
		parent, err = makeInRoot(path[:slash], true)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	name := path[slash+1:]
	if directory {
		err = unix.Mkdirat(parent, name, 0o755)
	} else {
		err = unix.Mknodat(parent, name, unix.S_IFREG|0o644, 0)
	}
	if err != nil {
		return -1, err // EEXIST: a link that leads nowhere
	}
	return unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}
