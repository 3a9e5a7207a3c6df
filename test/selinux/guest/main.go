// Command guest is PID 1 of the virtual machine that the test of package selinux boots. It
// loads Debian's policy, becomes an administrator's process (unconfined_t), lets the kernel
// enforce, and runs the checks, as a user of clearrun on such a host could. Each check
// is a line on the console: "CHECK name: ok", or what is wrong.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// admin is the label of an administrator's shell on Debian.
const admin = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"

func main() {
	err := run()
	if err != nil {
		fmt.Println("GUEST FAILED:", err)
	}
	fmt.Println("GUEST DONE")
	if os.Getpid() == 1 {
		unix.Sync()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return boot()
	}
	return checks()
}

// boot makes the kernel's bare start an SELinux host. What follows runs as an administrator.
func boot() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := speakApart(); err != nil {
		return fmt.Errorf("open the line for reports: %w", err)
	}
	for _, m := range []string{"libcrc32c", "erofs", "overlay", "loop"} {
		if err := loadModule("/modules/" + m + ".ko"); err != nil {
			return fmt.Errorf("load module %s: %w", m, err)
		}
	}
	policy, err := os.ReadFile("/policy")
	if err != nil {
		return err
	}
	if err := put("/sys/fs/selinux/load", string(policy)); err != nil {
		return fmt.Errorf("load the policy: %w", err)
	}
	runtime.LockOSThread() // the label for the next program is a thread's
	if err := put("/proc/thread-self/attr/exec", admin); err != nil {
		return fmt.Errorf("become an administrator: %w", err)
	}
	return syscall.Exec("/init", []string{"/init", "checks"}, []string{"PATH=/bin"})
}

// speakApart has what this process and its children say go to the second serial line: on
// the first, the console, messages of the kernel would break into it.
func speakApart() error {
	line, err := unix.Open("/dev/ttyS1", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Dup3(line, 1, 0), unix.Dup3(line, 2, 0), unix.Close(line))
}

// mountAll mounts what a host has.
func mountAll() error {
	if err := leaveRootfs(); err != nil {
		return fmt.Errorf("leave the initial file system: %w", err)
	}
	for _, m := range []struct{ fs, dir, data string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"selinuxfs", "/sys/fs/selinux", ""},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"tmpfs", "/tmp", "mode=1777"},
		{"tmpfs", "/var", "mode=0755"},
	} {
		_ = os.MkdirAll(m.dir, 0o755)
		if err := unix.Mount(m.fs, m.dir, m.fs, 0, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.fs, err)
		}
	}
	return nil
}

// leaveRootfs makes a bind mount of the initial file system the root: the initial one itself
// cannot be pivoted away from (pivot_root(2)).
func leaveRootfs() error {
	if err := unix.Mount("/", "/sysroot", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := os.Chdir("/sysroot"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	return unix.Chroot(".")
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

func put(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value)
	return err
}
