package hostrun

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/vmrun/bundle"
)

// image is a root image that cannot change unnoticed, mounted, though nowhere yet.
type image struct {
	file  *os.File // what was checked
	mount *os.File // a detached mount
	label string   // of all files of the mount, for SELinux; "": none
	lease bool     // on file: who would write to it waits until the lease is broken
	owned bool     // file is a copy of ours
	how   string   // it was verified
}

// openImage verifies the root image and mounts it: by the kernel, each block when it is
// read, or where that cannot be, all of it at once. With a digest of fs-verity, the file can
// be read only as long as it is what it should be.
func openImage(file *os.File, info rootfs.Info, verity rootfs.Hash, label string) (_ *image, err error) {
	i := &image{file: file, label: label}
	defer func() {
		if err != nil {
			i.close()
		}
	}()
	if verity != (rootfs.Hash{}) {
		i.how = "fs-verity: the kernel checks each block of the file as it is read, digest " + verity.String()
		return i, i.mountFile()
	}
	lack := i.mountVerity(info)
	if lack == nil {
		i.how = "dm-verity: the kernel checks each block as it is read, root hash " + info.RootHash.String()
		return i, nil
	}
	i.how = "full hash before the start, root hash " + info.RootHash.String() + "; no dm-verity here: " + lack.Error()
	return i, i.mountHashed(info)
}

// mountHashed hashes the whole image and mounts it. It must not change from then on: either a lease tells
// when somebody is about to write to it (fcntl(2), F_SETLEASE), or, where the file
// system has no leases, a sealed copy in memory is used.
func (i *image) mountHashed(info rootfs.Info) error {
	if err := i.pin(info); err != nil {
		return err
	}
	if err := rootfs.VerifyData(i.file, info); err != nil {
		return fmt.Errorf("%w: nothing runs from it; delete its folder and run again", err)
	}
	return i.mountFile()
}

// pin sees to it that the content stays as it will be found.
func (i *image) pin(info rootfs.Info) error {
	_, err := unix.FcntlInt(i.file.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case err == nil:
		i.lease = true
		return nil
	case errors.Is(err, unix.EAGAIN):
		return errors.New("somebody has it open for writing: nothing runs from it")
	}
	data := int64(info.DataBlocks * rootfs.BlockSize)
	if i.file, err = bundle.Seal("clearrun-root", func(f *os.File) error { return bundle.Copy(f, i.file, 0, data) }); err != nil {
		return fmt.Errorf("copy it into memory: %w", err)
	}
	i.owned = true
	return nil
}

// guard calls broken when somebody wants to write to the file, who is kept waiting for
// a while (/proc/sys/fs/lease-break-time). stop ends the guard.
func (i *image) guard(broken func()) (stop func()) {
	if !i.lease {
		return func() {}
	}
	breaking := make(chan os.Signal, 1)
	signal.Notify(breaking, unix.SIGIO) // the lease's signal; nothing else here sends it
	done := make(chan struct{})
	go func() {
		for {
			if kind, err := unix.FcntlInt(i.file.Fd(), unix.F_GETLEASE, 0); err != nil || kind != unix.F_RDLCK {
				broken()
				return
			}
			select {
			case <-breaking:
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(breaking)
		close(done)
	}
}

// mountFile mounts the file itself where the kernel can (Linux 6.12), else by way of a
// loop device, which the mount keeps.
func (i *image) mountFile() error {
	err := i.mountFrom(i.file)
	if !errors.Is(err, unix.ENOTBLK) {
		return err
	}
	loop, err := attachLoop(i.file)
	if err != nil {
		return fmt.Errorf("attach it to a loop device: %w", err)
	}
	defer loop.Close()
	return i.mountFrom(loop)
}

// mountFrom mounts a file or a block device.
func (i *image) mountFrom(source *os.File) error {
	fd, err := mountEROFS(source, i.label)
	switch {
	case errors.Is(err, unix.ENODEV):
		return errNoEROFS
	case err != nil:
		return fmt.Errorf("mount it: %w", err)
	}
	i.mount = os.NewFile(uintptr(fd), "root image")
	return nil
}

var errNoEROFS = errors.New("this kernel has no EROFS: load its module (modprobe erofs), or ask for tier vm (--vm)")

// mountEROFS makes a mount that is attached nowhere: it ends with its last descriptor.
func mountEROFS(source *os.File, label string) (mount int, err error) {
	fs, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", "/proc/self/fd/"+strconv.Itoa(int(source.Fd()))); err != nil {
		return -1, err
	}
	if err := unix.FsconfigSetFlag(fs, "ro"); err != nil {
		return -1, err
	}
	if label != "" {
		if err := unix.FsconfigSetString(fs, "context", label); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NODEV)
}

// close gives up image and lease. What is mounted of it lives as long as its mounts.
func (i *image) close() {
	if i.mount != nil {
		i.mount.Close()
	}
	if i.lease {
		_, _ = unix.FcntlInt(i.file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	if i.owned {
		i.file.Close()
	}
}
