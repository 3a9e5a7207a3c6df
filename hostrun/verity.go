package hostrun

import (
	"encoding/hex"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/rootfs"
)

// mountVerity mounts the root image by way of dm-verity: the kernel checks each block as it
// is read, and fails the read of one that was changed. Device and loop device end with the
// mount, however this process does.
func (i *image) mountVerity(info rootfs.Info) error {
	d, err := openDeviceMapper()
	if err != nil {
		return err
	}
	defer d.close()
	d.sweep()
	loop, err := attachLoop(i.file)
	if err != nil {
		return fmt.Errorf("attach it to a loop device: %w", err)
	}
	defer loop.Close()
	device, err := d.verity(loop, info)
	if err != nil {
		return err
	}
	defer device.Close()
	return i.mountFrom(device)
}

// verity makes a device of the image that the loop device holds. It lasts as long as somebody has
// it open.
func (d *deviceMapper) verity(loop *os.File, info rootfs.Info) (_ *os.File, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(loop.Fd()), &stat); err != nil {
		return nil, err
	}
	name, dev, err := d.create()
	if err != nil {
		return nil, err
	}
	defer func() {
		if later := d.removeLater(name); err == nil && later != nil {
			err = fmt.Errorf("have a device removed: %w", later)
		}
	}()
	if err := d.load(name, info.DataBlocks*(rootfs.BlockSize/sectorSize), "verity", verityTable(stat.Rdev, info)); err != nil {
		return nil, err
	}
	return openDevice(dev)
}

// sectorSize is the device mapper's unit, in bytes.
const sectorSize = 512

// verityTable describes the image to dm-verity, the data and the hash tree behind it being on
// one device (Documentation/admin-guide/device-mapper/verity.rst). There are no options: a
// changed block is an I/O error, each time that it is read.
func verityTable(dev uint64, info rootfs.Info) string {
	device := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	salt := hex.EncodeToString(info.Salt)
	if salt == "" {
		salt = "-"
	}
	return fmt.Sprintf("1 %s %s %d %d %d %d sha256 %s %s",
		device, device, rootfs.BlockSize, rootfs.BlockSize, info.DataBlocks, info.HashOffset/rootfs.BlockSize, info.RootHash, salt)
}

// openDevice opens a block device by its number, on a file system that nobody else sees: who
// makes nodes in /dev, and under which names, does not matter.
func openDevice(dev uint64) (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file system for a device: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("make a file system for a device: %w", err)
	}
	dir, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount a file system for a device: %w", err)
	}
	defer unix.Close(dir)
	if err := unix.Mknodat(dir, "root", unix.S_IFBLK|0o400, int(dev)); err != nil {
		return nil, fmt.Errorf("make a device node: %w", err)
	}
	fd, err := unix.Openat(dir, "root", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a device: %w", err)
	}
	return os.NewFile(uintptr(fd), "dm-verity"), nil
}
