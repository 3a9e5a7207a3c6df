package hostrun

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/pod"
)

// openVolumes makes a mount of each volume, attached to nothing, and gives it the label of the
// container's files if it is to have that. The caller closes them.
func openVolumes(volumes []pod.Volume, fileLabel string) (mounts []*os.File, err error) {
	for _, v := range volumes {
		mount, err := openVolume(v, fileLabel)
		if err != nil {
			closeAll(mounts)
			return nil, fmt.Errorf("volume %s: %w", v, err)
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

var errReplaced = errors.New("a symbolic link has taken the place of a part of its path")

// openVolume mounts what the path leads to without a symbolic link: exactly what the
// policy was asked about, whoever has changed the path since. Nothing in it has
// set-user-ID bits or devices, and no mount goes from or to the host.
func openVolume(v pod.Volume, fileLabel string) (*os.File, error) {
	path, err := unix.Openat2(unix.AT_FDCWD, v.Source, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, errReplaced
	case err != nil:
		return nil, err
	}
	defer unix.Close(path)
	if v.Relabel != pod.RelabelNone {
		if err := label.Relabel(fileLabel, path, v.Source, v.Relabel == pod.RelabelShared); err != nil {
			return nil, err
		}
	}
	attributes := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if v.ReadOnly {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	return cloneTree(path, attributes)
}

// cloneTree makes a private mount of what a descriptor stands for, and all below it.
func cloneTree(path int, attributes uint64) (*os.File, error) {
	tree, err := unix.OpenTree(path, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("clone the mount: %w", err)
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{
		Attr_set: attributes, Propagation: unix.MS_PRIVATE,
	})
	if err != nil {
		unix.Close(tree)
		return nil, fmt.Errorf("restrict the mount: %w", err)
	}
	return os.NewFile(uintptr(tree), "volume"), nil
}
