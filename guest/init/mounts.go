package main

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/guest/proto"
)

// Directories of the initramfs (hack/mkinitramfs makes them).
const (
	devDir     = "/dev"
	imageDir   = "/image"   // the EROFS image
	overlayDir = "/overlay" // tmpfs with the writable layer
	rootDir    = "/root"    // both, merged: the app's root to be
)

// mount is one row of a mount table.
type mount struct {
	source, target, fsType string
	flags                  uintptr
	data                   string
	optional               bool // for what a kernel may be built without
}

const noSpecials = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV

// mountDevice gives the function that mounts the image on a block device.
func mountDevice(device string) func() error {
	return func() error {
		return mountAll([]mount{
			{"devtmpfs", devDir, "devtmpfs", unix.MS_NOSUID, "", false},
			{device, imageDir, "erofs", unix.MS_RDONLY, "", false},
		})
	}
}

// rootMounts puts together the app's root, seen from the initramfs. An OverlaySize
// of 0 leaves tmpfs at its default, half of the memory.
func rootMounts(start *proto.Start) []mount {
	size := "mode=0755"
	if start.OverlaySize > 0 {
		size += ",size=" + strconv.FormatUint(start.OverlaySize, 10)
	}
	return []mount{
		{"tmpfs", overlayDir, "tmpfs", 0, size, false},
	}
}

// appMounts are the default file systems of the OCI runtime spec (config-linux.md),
// seen from the app's root. Those of /dev follow /dev.
func appMounts() []mount {
	return []mount{
		{"proc", "/proc", "proc", noSpecials, "", false},
		{"sysfs", "/sys", "sysfs", noSpecials | unix.MS_RDONLY, "", false},
		{"cgroup", "/sys/fs/cgroup", "cgroup2", noSpecials | unix.MS_RDONLY, "", true},
		{"tmpfs", "/dev", "tmpfs", unix.MS_NOSUID | unix.MS_STRICTATIME, "mode=755,size=65536k", false},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5", false},
		{"shm", "/dev/shm", "tmpfs", noSpecials, "mode=1777,size=65536k", false},
		{"mqueue", "/dev/mqueue", "mqueue", noSpecials, "", true},
	}
}

// mountAll mounts a table in order, making directories that the image lacks.
func mountAll(table []mount) error {
	for i := range table {
		m := &table[i]
		err := unix.Mount(m.source, m.target, m.fsType, m.flags, m.data)
		if err == unix.ENOENT && makeDirs(m.target, 0o755) == nil {
			err = unix.Mount(m.source, m.target, m.fsType, m.flags, m.data)
		}
		if err != nil && !m.optional {
			return fail("mount", "mount "+m.fsType+" "+m.source+" on "+m.target, err)
		}
	}
	return nil
}

// enterRoot makes the image with a writable layer over it the root directory of
// this process. The initramfs stays beneath, out of reach: it holds nothing but
// the program that is running.
func enterRoot(mountImage func() error, start *proto.Start) error {
	if err := mountImage(); err != nil {
		return err
	}
	root := imageDir
	if !start.PrivateImage {
		if err := addLayer(start); err != nil {
			return err
		}
		root = rootDir
	}
	if err := unix.Chdir(root); err != nil {
		return fail("mount", "enter the app's root", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fail("mount", "move the app's root to /", err)
	}
	// The root directory still refers to the initramfs beneath the moved mount.
	return fail("mount", "change root", unix.Chroot("."))
}

// addLayer mounts the image with a writable layer over it on rootDir.
func addLayer(start *proto.Start) error {
	if err := mountAll(labelled(rootMounts(start), start.MountLabel)); err != nil {
		return err
	}
	for _, dir := range []string{overlayDir + "/upper", overlayDir + "/work"} {
		if err := unix.Mkdir(dir, 0o755); err != nil {
			return fail("mount", "mkdir "+dir, err)
		}
	}
	layers := "lowerdir=" + imageDir + ",upperdir=" + overlayDir + "/upper,workdir=" + overlayDir + "/work"
	if start.IDs > 0 {
		layers += ",userxattr" // what a user namespace may set
	}
	return mountAll(labelled([]mount{{"overlay", rootDir, "overlay", 0, layers, false}}, start.MountLabel))
}

// populateRoot mounts and makes everything that an app finds in its root beside the
// image. It runs inside that root, so that a symbolic link of the image
// leads nowhere that the app could not reach.
func (p platform) populateRoot(start *proto.Start) error {
	unix.Umask(0) // modes below are meant as they stand
	if !p.host {  // its /proc, /sys and /dev are among the volumes
		if err := p.mountSystem(start); err != nil {
			return err
		}
		labelQueues(start)
		if err := makeDevices(start); err != nil {
			return err
		}
	}
	if err := writeFiles(start); err != nil {
		return err
	}
	// Behind the files, which shall not be written into a volume.
	if err := attachVolumes(start); err != nil {
		return err
	}
	if err := workDir(start.Dir); err != nil {
		return err
	}
	if err := restrictPaths(start); err != nil {
		return err
	}
	var flags uintptr
	if p.shared {
		if err := protectDevices(start); err != nil {
			return err
		}
		flags |= unix.MS_NODEV
	}
	if start.ReadOnlyRoot {
		flags |= unix.MS_RDONLY
	}
	if flags == 0 {
		return nil
	}
	// Last: mount points, files and the working directory are there now.
	return fail("mount", "restrict the root", unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""))
}

// device is a character device of the OCI runtime spec's default devices.
type device struct {
	path         string
	major, minor uint32
}

// link is a symbolic link of /dev (runtime-linux.md, "Dev symbolic links").
type link struct {
	path, target string
}

func devices() []device {
	return []device{
		{"/dev/null", 1, 3},
		{"/dev/zero", 1, 5},
		{"/dev/full", 1, 7},
		{"/dev/random", 1, 8},
		{"/dev/urandom", 1, 9},
		{"/dev/tty", 5, 0},
	}
}

// makeDevices fills /dev. In a user namespace the devices are among the volumes.
func makeDevices(start *proto.Start) error {
	if start.IDs == 0 {
		for _, d := range devices() {
			if err := unix.Mknod(d.path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
				return fail("mount", "make "+d.path, err)
			}
		}
	}
	for _, l := range []link{
		{"/dev/fd", "/proc/self/fd"},
		{"/dev/stdin", "/proc/self/fd/0"},
		{"/dev/stdout", "/proc/self/fd/1"},
		{"/dev/stderr", "/proc/self/fd/2"},
		{"/dev/ptmx", "pts/ptmx"},
	} {
		if err := unix.Symlink(l.target, l.path); err != nil {
			return fail("mount", "link "+l.path, err)
		}
	}
	return nil
}

// restrictPaths hides and write-protects paths, as runtimes of the OCI spec do.
// The kernel is the app's own, so this is about what an app sees, not isolation.
func restrictPaths(start *proto.Start) error {
	for _, path := range start.MaskedPaths {
		err := unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
		if err == unix.ENOTDIR {
			err = unix.Mount("tmpfs", path, "tmpfs", noSpecials|unix.MS_RDONLY, withContext("size=0", start.MountLabel))
		}
		if err != nil && !missing(err) {
			return fail("mount", "mask "+path, err)
		}
	}
	for _, path := range start.ReadOnlyPaths {
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if missing(err) {
			continue
		}
		if err == nil {
			err = unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|noSpecials, "")
		}
		if err != nil {
			return fail("mount", "make "+path+" read-only", err)
		}
	}
	return nil
}

// missing reports whether a path does not exist.
func missing(err error) bool {
	return err == unix.ENOENT || err == unix.ENOTDIR
}

// makeDirs makes a directory and its parents. An existing directory is no error.
func makeDirs(path string, mode uint32) error {
	err := unix.Mkdir(path, mode)
	if err == unix.ENOENT {
		slash := strings.LastIndexByte(path, '/')
		if slash <= 0 {
			return err
		}
		if err := makeDirs(path[:slash], mode); err != nil {
			return err
		}
		err = unix.Mkdir(path, mode)
	}
	if err == unix.EEXIST {
		return nil
	}
	return err
}
