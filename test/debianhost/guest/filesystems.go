package main

import (
	"fmt"
	"os"

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
		err := unix.Unmount(dir, 0)
		inside.Report(name+": nothing holds it", err == nil, fmt.Sprint(err))
	}
	return nil
}
