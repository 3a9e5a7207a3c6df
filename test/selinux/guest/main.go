// Command guest is PID 1 of the virtual machine that the test of package selinux boots. It
// loads Debian's policy, becomes an administrator's process (unconfined_t), lets the kernel
// enforce, and runs the checks, as a user of clearrun on such a host could.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/test/debiankernel/inside"
)

// admin is the label of an administrator's shell on Debian.
const admin = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"

func main() {
	if len(os.Args) < 2 {
		inside.Main(loadPolicy)
		return
	}
	switch os.Args[1] {
	case "probe":
		probe(os.Args[2], os.Args[3])
	case "users": // as the kernel's command line says
		inside.Finish(users())
	default:
		inside.Finish(checks())
	}
}

// loadPolicy makes the kernel's bare start an SELinux host. What follows runs as an administrator.
func loadPolicy() error {
	if err := unix.Mount("selinuxfs", "/sys/fs/selinux", "selinuxfs", 0, ""); err != nil {
		return fmt.Errorf("mount selinuxfs: %w", err)
	}
	policy, err := os.ReadFile("/policy")
	if err != nil {
		return err
	}
	if err := inside.Put("/sys/fs/selinux/load", string(policy)); err != nil {
		return fmt.Errorf("load the policy: %w", err)
	}
	runtime.LockOSThread() // the label for the next program is a thread's
	if err := inside.Put(execLabel, admin); err != nil {
		return fmt.Errorf("become an administrator: %w", err)
	}
	return syscall.Exec("/init", []string{"/init", os.Getenv("CHECKS")}, os.Environ())
}
