package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/rootfs"
	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// The disk has ext4 with fs-verity.
const (
	disk      = "/dev/vda"
	diskDir   = "/var/disk"
	diskStore = diskDir + "/store"
)

// fsVerity runs containers from a store whose file system has fs-verity.
func fsVerity() error {
	if err := os.MkdirAll(diskDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(disk, diskDir, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := verifiedRun(diskStore, "fs-verity: a run", "fs-verity: "); err != nil {
		return err
	}
	path, err := rootImage(diskStore)
	if err != nil {
		return err
	}
	_, err = os.OpenFile(path, os.O_RDWR, 0)
	inside.Report("fs-verity: nobody writes to the image", errors.Is(err, fs.ErrPermission), fmt.Sprint(err))
	if err := replaced(path); err != nil {
		return err
	}
	if err := managed(); err != nil {
		return err
	}
	if err := changedDisk(); err != nil {
		return err
	}
	cmd := exec.Command("/bin/rootfs.test", "-test.v", "-test.run", "^TestFSVerity$")
	cmd.Env = append(os.Environ(), "TMPDIR="+diskDir)
	out, err := cmd.CombinedOutput()
	inside.Report("rootfs's tests of fs-verity", err == nil && strings.Count(string(out), "--- PASS") == 1, quoted(err, string(out)))
	return nil
}

// replaced puts other files in the place of the root image: a copy without fs-verity, and
// one that has it, but with another content.
func replaced(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Rename(path, path+".old"); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	if err := verifiedRun(diskStore, "fs-verity: a copy has none", "dm-verity: "); err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Remove(path), os.WriteFile(path, data, 0o600)); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = rootfs.EnableFSVerity(f)
	f.Close()
	if err != nil {
		return err
	}
	c, err := start(diskStore, "true", "--ns")
	inside.Report("fs-verity: another file is refused", err != nil && strings.Contains(err.Error(), "was changed: its fs-verity digest is "), quoted(err))
	if err == nil {
		_, _, _ = c.end()
	}
	return os.Rename(path+".old", path)
}

// managed has the store do with the image what it does with others.
func managed() error {
	for _, args := range [][]string{
		{"image", "verify"},
		{"image", "export", "-o", "/var/root.tar", "example.com/app"},
		{"image", "rm", "example.com/app"},
	} {
		args = append(args, "--store", diskStore, "--config-dir", "/var/config")
		out, err := exec.Command("/bin/clearrun", args...).CombinedOutput()
		inside.Report("fs-verity: "+args[0]+" "+args[1], err == nil, quoted(err, string(out)))
	}
	_, err := rootImage(diskStore)
	if err == nil {
		return errors.New("the image is still in the store")
	}
	return verifiedRun(diskStore, "fs-verity: rendered anew", "fs-verity: ")
}

// changedDisk changes a block of the image where no file system sees it.
func changedDisk() error {
	unix.Sync()
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const chunk, blockSize = 1 << 20, 4096
	changed := 0
	buf := make([]byte, chunk)
	for at := int64(0); ; at += chunk {
		if _, err := f.ReadAt(buf, at); err != nil {
			break
		}
		for block := 0; block < chunk; block += blockSize {
			if bytes.HasPrefix(buf[block:], []byte("block 0200")) {
				changed++
				if _, err := f.WriteAt([]byte{'B'}, at+int64(block)); err != nil {
					return err
				}
			}
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return err
	}
	c, err := start(diskStore, readBlocks, "--ns")
	if err != nil {
		return err
	}
	out, code, err := c.end()
	inside.Report("fs-verity: a changed block is an I/O error", changed > 0 && code == 3 && strings.HasPrefix(out, "block 0000\n") && strings.Contains(out, "Input/output error"), quoted(changed, code, out))
	return err
}
