package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// udevDir is the root of systemd-udevd, on a disk of its own.
const (
	udevDisk = "/dev/vde"
	udevDir  = "/var/udev"
)

// udevKnows lists the device mapper's devices that udev has looked at and not seen go: its database
// has a file for each, by number.
func udevKnows() []string {
	found, _ := filepath.Glob(udevDir + "/run/udev/data/b253:*")
	return found
}

// udev runs containers while systemd-udevd looks at each new block device, as it does on hosts.
func udev() error {
	daemon, err := startUdev()
	if err != nil {
		return err
	}
	defer func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	}()
	c, err := start(memoryStore, readBlocks, "--ns")
	if err != nil {
		return err
	}
	said := isolator("root-image")
	seen := awaitSome(udevKnows)
	out, code, err := c.end()
	if err != nil {
		return err
	}
	inside.Report("beside udev: dm-verity", code == 3 && strings.HasPrefix(out, "block 0000\nblock 0200") && strings.HasPrefix(said, "enforced: dm-verity: "), quoted(code, out, said))
	inside.Report("beside udev: it has looked at the device", len(seen) > 0, fmt.Sprint(seen))
	left := append(await(devices), await(udevKnows)...)
	inside.Report("beside udev: nothing left after the exit", left == nil, fmt.Sprint(left))
	if err := killedBesideUdev(); err != nil {
		return err
	}
	return ownTests("hostrun's tests of the device mapper, beside udev")
}

// killedBesideUdev kills clearrun at different times of its start, and then has another run sweep.
func killedBesideUdev() error {
	const times = 6
	for n := range times {
		cmd := exec.Command("/bin/clearrun", "run", "--store", memoryStore, "--config-dir", "/var/config", "--ns", "/app.aci", "--", "sh", "-c", "sleep 1000")
		if err := cmd.Start(); err != nil {
			return err
		}
		time.Sleep(time.Duration(n) * 150 * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			return err
		}
		_ = cmd.Wait()
	}
	if err := verifiedRun(memoryStore, "beside udev: a run after some that were killed", "dm-verity: "); err != nil {
		return err
	}
	nodes, err := filepath.Glob("/dev/mapper/clearrun-*")
	if err != nil {
		return err
	}
	left := append(nodes, await(udevKnows)...)
	inside.Report("beside udev: nothing left of those either", left == nil, fmt.Sprint(left))
	return nil
}

// startUdev starts the daemon in its root, and waits until it has seen all devices of the host.
func startUdev() (*exec.Cmd, error) {
	if err := os.MkdirAll(udevDir, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount(udevDisk, udevDir, "ext4", 0, ""); err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if err := unix.Mount(dir, udevDir+dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return nil, fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	inRoot := func(args ...string) *exec.Cmd {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Chroot: udevDir}, "/"
		return cmd
	}
	daemon := inRoot("/lib/systemd/systemd-udevd")
	daemon.Stdout, daemon.Stderr = os.Stdout, os.Stderr
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"control", "--ping", "--timeout=60"}, {"trigger", "--action=add", "--subsystem-match=block"}, {"settle", "--timeout=60"}} {
		if out, err := inRoot(append([]string{"/bin/udevadm"}, args...)...).CombinedOutput(); err != nil {
			_ = daemon.Process.Kill()
			return nil, errors.Join(fmt.Errorf("udevadm %s: %w: %s", args[0], err, out), daemon.Wait())
		}
	}
	return daemon, nil
}
