package main

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// containerVariable in the environment says that this is PID 1 of a container: the
// kernel is the host's, and what separates the app from the host is up to this
// program and the namespaces that it was started in (package hostrun).
const containerVariable = "CLEARRUN_CONTAINER"

// Descriptors that PID 1 of a container inherits, from hostrun.
const (
	controlFD = 3 + iota
	stdinFD
	stdoutFD
	stderrFD
	imageFD // a detached mount of the root image

	inheritedEnd // from here on one for each volume, a detached mount
)

// container is the platform of tier ns.
func container() platform {
	return platform{
		dial: inherited, prepare: leaveHost, mountImage: attachImage, confine: giveUp, shared: true,
	}
}

// inherited gives the socket that stands for a port of the host.
func inherited(port uint32) (int, error) {
	switch port {
	case proto.ControlPort:
		return controlFD, nil
	case proto.StdinPort:
		return stdinFD, nil
	case proto.StdoutPort:
		return stdoutFD, nil
	case proto.StderrPort:
		return stderrFD, nil
	}
	return -1, unix.EBADF
}

// stage is a directory that every host has, to be covered in this mount namespace.
const stage = "/proc"

// leaveHost takes everything of the host's from this process but its kernel: it is
// left in an empty root directory like the initramfs of a VM.
func leaveHost(start *proto.Start) (files kernelFiles, err error) {
	// First: from here on nobody in the container may look into this process, whose
	// descriptors and memory are the host's (proc(5), PR_SET_DUMPABLE).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return files, fail("container", "protect PID 1", err)
	}
	if err := closeInherited(start); err != nil {
		return files, fail("container", "close what was inherited", err)
	}
	// The host has put this process into its cgroup: that becomes the root.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil && err != unix.EINVAL {
		return files, fail("container", "make a cgroup namespace", err)
	}
	if err := enterTimeNamespace(); err != nil {
		return files, fail("container", "make a time namespace", err)
	}
	if err := forgetRights(start.ProcessLabel); err != nil {
		return files, err
	}
	if start.IDs > 0 {
		if files, err = mountKernelFiles(start); err != nil {
			return files, err
		}
	}
	return files, leaveFiles()
}

// enterTimeNamespace makes a time namespace, where the kernel has them, and enters it:
// unshare makes it for children alone, and a kernel before 6.3 then refuses to start one
// that shares memory until it executes, as Go's are (time_namespaces(7)).
func enterTimeNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		if err == unix.EINVAL {
			return nil
		}
		return err
	}
	fd, err := unix.Open("/proc/self/ns/time_for_children", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Setns(fd, unix.CLONE_NEWTIME), unix.Close(fd))
}

// closeInherited closes what clearrun itself has inherited from its caller, and keeps
// the rest from the app.
func closeInherited(start *proto.Start) error {
	end := inheritedEnd + len(start.Volumes)
	if start.ProcessLabel != "" {
		end++ // the lease of its categories
	}
	if start.IDs > 0 && !start.PrivateImage {
		end++ // that of its IDs
	}
	if err := unix.CloseRange(uint(end), math.MaxUint32, 0); err != nil {
		return err
	}
	return unix.CloseRange(controlFD, uint(end)-1, unix.CLOSE_RANGE_CLOEXEC)
}

// forgetRights drops what an app could inherit past its bounding set: inheritable (and
// with them ambient) capabilities, and the keys of the user's session.
func forgetRights(label string) error {
	header, held, err := capabilities()
	if err != nil {
		return fail("container", "read capabilities", err)
	}
	held[0].Inheritable, held[1].Inheritable = 0, 0
	if err := unix.Capset(header, &held[0]); err != nil {
		return fail("container", "clear inheritable capabilities", err)
	}
	if err := labelNext("keycreate", label); err != nil {
		return err
	}
	if _, err := unix.KeyctlJoinSessionKeyring("clearrun"); err != nil && err != unix.ENOSYS && err != unix.EPERM {
		return fail("container", "leave the session keyring", err)
	}
	return nil
}

func capabilities() (*unix.CapUserHeader, *[2]unix.CapUserData, error) {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData
	err := unix.Capget(header, &held[0])
	return header, &held, err
}

// leaveFiles puts this process into a tmpfs with the directories of the initramfs.
// Nothing of the host's stays mounted in its namespace.
func leaveFiles() error {
	// Before anything is mounted: nothing of this may show on the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fail("container", "make mounts private", err)
	}
	if err := mountAll([]mount{{"tmpfs", stage, "tmpfs", noSpecials, "mode=0755,size=64k", false}}); err != nil {
		return err
	}
	if err := unix.Chdir(stage); err != nil {
		return fail("container", "enter the new root", err)
	}
	for _, dir := range []string{imageDir, overlayDir, rootDir} {
		if err := unix.Mkdir("."+dir, 0o755); err != nil {
			return fail("container", "mkdir "+dir, err)
		}
	}
	// The old root comes to lie on top of the new one, from where it is taken away.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fail("container", "change the root (pivot_root)", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fail("container", "unmount the host's files", err)
	}
	return fail("container", "enter the new root", unix.Chdir("/"))
}

// attachImage mounts the image that the host has checked and opened.
func attachImage() error {
	err := unix.MoveMount(imageFD, "", unix.AT_FDCWD, imageDir, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err == nil {
		err = unix.Close(imageFD)
	}
	return fail("mount", "mount the root image", err)
}

// protectDevices leaves the app no devices but those of the table, whatever nodes it
// makes: each is a mount of its own, and all other places are mounted nodev. That
// needs no device cgroup, which hosts have in two kinds.
func protectDevices(start *proto.Start) error {
	if start.IDs == 0 { // else they are mounts of the host's
		for _, d := range devices() {
			if err := unix.Mount(d.path, d.path, "", unix.MS_BIND, ""); err != nil {
				return fail("mount", "mount "+d.path, err)
			}
		}
	}
	err := unix.Mount("", "/dev", "", unix.MS_REMOUNT|unix.MS_BIND|noSpecials, "")
	return fail("mount", "forbid devices in /dev", err)
}

// forStart is what PID 1 may still do when the app already runs, if only for a moment:
// what the app may, start it as another user, take back limits, and end it.
func forStart(start *proto.Start) proto.CapabilitySet {
	return start.Capabilities.With(unix.CAP_KILL).With(unix.CAP_SETUID).With(unix.CAP_SETGID).With(unix.CAP_SYS_RESOURCE)
}

// shed drops all capabilities of this thread but those to keep.
func shed(keep proto.CapabilitySet) error {
	header, held, err := capabilities()
	if err != nil {
		return fail("container", "read capabilities", err)
	}
	for i := range held {
		held[i].Permitted &= uint32(keep >> (32 * i))
		held[i].Effective = held[i].Permitted
	}
	return fail("container", "drop capabilities", unix.Capset(header, &held[0]))
}

var errThreads = errors.New("not exactly one")

// oneTask is the link count of a task directory with one thread: "." and ".." besides.
const oneTask = 3

// giveUp leaves PID 1 with the capabilities of its app and the one to end it. Even an
// app that may trace processes gains nothing by taking it over.
func giveUp(start *proto.Start) error {
	// Capabilities and filters belong to a thread. A second one would have kept them.
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/task", &st); err != nil || st.Nlink != oneTask {
		return fail("container", "count the threads of PID 1", errThreads)
	}
	if err := shed(start.Capabilities.With(unix.CAP_KILL)); err != nil {
		return err
	}
	if err := become(start.ProcessLabel); err != nil {
		return err
	}
	// An execve that somebody else makes it do shall not bring them back.
	return fail("container", "set no_new_privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
}
