// Package inside is the guest's half of package debiankernel: PID 1 of a VM makes a host of
// its kernel's bare start, runs checks, and says on the second serial line how they ended.
package inside

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Main is a guest's main function: PID 1 gets the host ready (Start), calls run and powers off.
func Main(run func() error) {
	err := Start()
	if err == nil {
		err = run()
	}
	Finish(err)
}

// Start mounts what a host has, /sys/fs/cgroup as version 2 among it, loads the
// modules, and lets what this process and its children say go to the second serial line.
func Start() error {
	if err := leaveRootfs(); err != nil {
		return fmt.Errorf("leave the initial file system: %w", err)
	}
	for _, m := range []struct{ fs, dir, data string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"tmpfs", "/tmp", "mode=1777"},
		{"tmpfs", "/var", "mode=0755"},
	} {
		_ = os.MkdirAll(m.dir, 0o755)
		if err := unix.Mount(m.fs, m.dir, m.fs, 0, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.fs, err)
		}
	}
	if err := speakApart(); err != nil {
		return fmt.Errorf("open the line for reports: %w", err)
	}
	if err := os.Setenv("PATH", "/bin"); err != nil {
		return err
	}
	return loadAll("/modules/load")
}

// Finish tells how the guest ended and powers off.
func Finish(err error) {
	if err != nil {
		fmt.Println("GUEST FAILED:", err)
	}
	fmt.Println("GUEST DONE")
	if os.Getpid() == 1 {
		unix.Sync()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
}

// Report tells the test outside how a check ended. Neither name nor detail has a
// line's end in it for long.
func Report(name string, ok bool, detail string) {
	verdict := "ok"
	if !ok {
		verdict = "FAILED"
	}
	fmt.Printf("\nCHECK %s: %s (%s)\n", name, verdict, strings.ReplaceAll(detail, "\n", `\n`))
}

// Put writes to a file that is there, such as one of /proc or /sys.
func Put(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Load loads one of Machine.Extra with what it depends on.
func Load(name string) error { return loadAll("/modules/" + name + ".load") }

// loadAll loads the modules that a file lists.
func loadAll(list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(text)) {
		if err := load("/modules/" + name + ".ko"); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// speakApart uses another line than the console, into which messages of the kernel would
// break.
func speakApart() error {
	line, err := unix.Open("/dev/ttyS1", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Dup3(line, 1, 0), unix.Dup3(line, 2, 0), unix.Close(line))
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
