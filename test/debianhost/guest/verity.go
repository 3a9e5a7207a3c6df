package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// memoryStore lies on tmpfs, which has no fs-verity.
const memoryStore = "/var/store"

// readBlocks reads two blocks of a file in the image, far from each other.
const readBlocks = `busybox dd if=/data bs=4096 count=1 2>/dev/null | busybox head -c 10; echo
busybox dd if=/data bs=4096 skip=200 count=1 2>&1 | busybox head -c 100; echo; exit 3`

// dmVerity runs containers without the device mapper, and then with it.
func dmVerity() error {
	whole, err := runWhole()
	if err != nil {
		return fmt.Errorf("full hash: %w", err)
	}
	if err := inside.Load("dm-verity"); err != nil {
		return err
	}
	c, err := start(memoryStore, readBlocks, "--ns")
	if err != nil {
		return err
	}
	n, err := c.bytesRead()
	if err != nil {
		return err
	}
	path, err := rootImage(memoryStore)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	saved := whole - n
	inside.Report("dm-verity spares the whole image", saved > int(info.Size())*9/10, fmt.Sprintf("read %d bytes in place of %d, the image has %d", n, whole, info.Size()))
	said := isolator("root-image")
	inside.Report("dm-verity is reported", strings.HasPrefix(said, "enforced: dm-verity: "), said)
	out, code, err := c.end()
	if err != nil {
		return err
	}
	inside.Report("dm-verity: exit code and blocks", code == 3 && strings.HasPrefix(out, "block 0000\nblock 0200"), quoted(code, out, c.stderr.String()))
	left := await(devices)
	inside.Report("dm-verity: nothing left after the exit", left == nil, fmt.Sprint(left))
	if err := changeBlocks(path); err != nil {
		return err
	}
	if err := killed(); err != nil {
		return err
	}
	return ownTests("hostrun's tests of the device mapper")
}

// runWhole runs without the device mapper, and counts what is read.
func runWhole() (int, error) {
	c, err := start(memoryStore, "true", "--ns") // renders the image
	if err != nil {
		return 0, err
	}
	if _, _, err := c.end(); err != nil {
		return 0, err
	}
	if c, err = start(memoryStore, readBlocks, "--ns"); err != nil {
		return 0, err
	}
	n, err := c.bytesRead()
	if err != nil {
		return 0, err
	}
	said := isolator("root-image")
	out, code, err := c.end()
	inside.Report("full hash, on a loop device", code == 3 && strings.HasPrefix(said, "enforced: full hash ") && strings.HasPrefix(out, "block 0000\nblock 0200"), quoted(code, said, out))
	left := await(devices)
	inside.Report("full hash: nothing left", left == nil, fmt.Sprint(left))
	return n, err
}

// flip changes a byte of a file.
func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return err
}

// changeBlocks changes the image under a running container, and then where the kernel looks
// first.
func changeBlocks(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := int64(bytes.Index(data, []byte("block 0200")))
	if at < 0 {
		return fmt.Errorf("block 200 in %s: %w", path, errNotThere)
	}
	c, err := start(memoryStore, readBlocks, "--ns")
	if err != nil {
		return err
	}
	if err := flip(path, at+100); err != nil {
		return err
	}
	out, code, err := c.end()
	if err != nil {
		return err
	}
	inside.Report("dm-verity: a changed block is an I/O error", code == 3 && strings.HasPrefix(out, "block 0000\n") && strings.Contains(out, "Input/output error") && !strings.Contains(out, "block 0200"), quoted(code, out))
	const superblock = 1024
	if err := flip(path, superblock+20); err != nil {
		return err
	}
	c, err = start(memoryStore, "true", "--ns")
	inside.Report("dm-verity: a changed superblock is refused", err != nil && strings.Contains(err.Error(), "was changed"), quoted(err))
	if err == nil {
		_, _, _ = c.end()
	}
	left := await(devices)
	inside.Report("dm-verity: nothing left after a refusal", left == nil, fmt.Sprint(left))
	return os.WriteFile(path, data, 0o600)
}

// killed kills clearrun as a whole.
func killed() error {
	c, err := start(memoryStore, "true", "--ns")
	if err != nil {
		return err
	}
	there := devices()
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = c.cmd.Wait()
	left := await(devices)
	inside.Report("dm-verity: nothing left after a kill", len(there) == 2 && left == nil, fmt.Sprint(there, " ", left))
	return nil
}

// ownTests runs hostrun's tests of its device mapper.
func ownTests(name string) error {
	out, err := exec.Command("/bin/hostrun.test", "-test.v", "-test.run", "^TestDeviceMapper").CombinedOutput()
	ran := strings.Count(string(out), "--- PASS")
	inside.Report(name, err == nil && ran >= 2 && !strings.Contains(string(out), "SKIP"), quoted(err, string(out)))
	return nil
}
