package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// fileSystems runs containers from stores on file systems that have fs-verity, or not.
func fileSystems() error {
	for _, f := range []struct{ disk, fsType, module, how string }{
		{"/dev/vdb", "ext4", "", "dm-verity: "}, // made without
		{"/dev/vdc", "btrfs", "btrfs", "fs-verity: "},
		{"/dev/vdd", "xfs", "xfs", "dm-verity: "},
	} {
		if f.module != "" {
			if err := inside.Load(f.module); err != nil {
				return err
			}
		}
		dir := "/var/" + f.fsType
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(f.disk, dir, f.fsType, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", f.fsType, err)
		}
		name := "a store on " + f.fsType
		if err := verifiedRun(dir+"/store", name, f.how); err != nil {
			return err
		}
		err := unmountSoon(dir)
		inside.Report(name+": nothing holds it", err == nil, fmt.Sprint(err))
	}
	return nil
}

// patience bounds how long the kernel may take to let go of a device.
const patience = 30 * time.Second

// unmountSoon unmounts dir once the kernel has let go of the files in it: the device mapper's
// deferred removal, and with it the loop device's release, go on after the last user has ended.
func unmountSoon(dir string) error {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Unmount(dir, 0)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}
