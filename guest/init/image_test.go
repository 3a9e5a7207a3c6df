package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// shared is the root image that all tests boot.
var shared struct {
	once   sync.Once
	dir    string
	loop   *os.File // keeps the loop device, which goes when it is closed
	device string
	err    error
}

// rootImage returns the loop device of the root image. What it needs is not
// optional: without it nothing of PID 1 would be tested.
func rootImage(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs root, mkfs.erofs, /bin/busybox and a loop device")
	}
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "image"); shared.err == nil {
			shared.err = makeImage()
		}
	})
	if shared.err != nil {
		t.Fatalf("make the root image (needs root, mkfs.erofs, busybox-static, loop devices): %v", shared.err)
	}
	return shared.device
}

func makeImage() error {
	tree, image := filepath.Join(shared.dir, "tree"), filepath.Join(shared.dir, "image.erofs")
	if err := makeTree(tree); err != nil {
		return err
	}
	if out, err := exec.Command("mkfs.erofs", image, tree).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.erofs: %w: %s", err, out)
	}
	return attachLoop(image)
}

// makeTree makes a root file system without /proc, /sys, /dev and /tmp.
func makeTree(tree string) error {
	for _, dir := range []string{"bin", "etc", "srv", "locked"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			return err
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		path, content string
		mode          os.FileMode
	}{
		{"bin/busybox", string(busybox), 0o755},
		{"bin/garbage", "neither a program nor a script", 0o755},
		{"bin/orphan-script", "#!/no/such/interpreter\n", 0o755},
		{"bin/locked-for-others", "#!/bin/sh\n", 0o700},
		{"etc/passwd", imagePasswd, 0o644},
		{"etc/group", imageGroup, 0o644},
		{"srv/owned", "", 0o644},
	} {
		if err := os.WriteFile(filepath.Join(tree, f.path), []byte(f.content), f.mode); err != nil {
			return err
		}
	}
	for path, target := range map[string]string{
		"etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",
		"etc/escape":      "/../../../../etc/hostname",
	} {
		if err := os.Symlink(target, filepath.Join(tree, path)); err != nil {
			return err
		}
	}
	for _, applet := range []string{
		"sh", "cat", "id", "env", "head", "hostname", "ls", "sleep", "stat", "stty", "tail", "touch", "tty",
		"yes", "grep", "kill", "mkdir", "readlink", "true", "wc", "mount", "ip", "ps", "echo", "test", "df",
	} {
		if err := os.Symlink("busybox", filepath.Join(tree, "bin", applet)); err != nil {
			return err
		}
	}
	return os.Chown(filepath.Join(tree, "srv/owned"), 4321, 8765)
}

const imagePasswd = `root:x:0:0:root:/root:/bin/sh
www:x:33:44:web:/srv:/bin/sh
# not an entry
broken:x:many:1::/:/bin/sh
short:x:5
1234:x:77:78:a name of digits:/digits:/bin/sh
`

const imageGroup = `root:x:0:
wheel:x:10:root,www
web:x:44:
disk:x:6:www
broken:x:none:www
`

// attachLoop makes a read-only loop device of the image that ends with this process.
func attachLoop(image string) error {
	backing, err := os.Open(image)
	if err != nil {
		return err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_READ_ONLY
	for range 10 { // another process may take the free one first
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return err
		}
		shared.device = fmt.Sprintf("/dev/loop%d", n)
		loop, err := os.Open(shared.device)
		if err != nil {
			return err
		}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			shared.loop = loop
			return nil
		}
		loop.Close()
		if err != unix.EBUSY {
			return fmt.Errorf("configure %s: %w", shared.device, err)
		}
	}
	return unix.EBUSY
}
