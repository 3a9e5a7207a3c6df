// Command init is PID 1 of clearrun's VM and of the containers of tier ns, and the
// parent of an app at tier host. It
// mounts the app's root, asks the host what to run (over vsock, or a socket that it
// inherits), runs it as a container's process would be run, carries its
// standard streams, reaps what it leaves behind, reports how it ended and
// powers the VM off.
//
// It holds no policy: who may run what, with which rights, is decided on the
// host and arrives in proto.Start. It trusts the host and nothing in the image.
//
// Start-up cost shapes the code. Each page of this program that is touched is a page
// fault at each start, and where the kernel is emulated a system call costs
// hundreds of microseconds. So the package stays off os, fmt, net and
// reflection (together a third of the program), errors are built by fail instead
// of fmt.Errorf, and everything runs in one poll loop on one thread: the build
// takes from Go's runtime what would need a second one (hack/initruntime).
package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// The root image, a virtio-blk disk: the first and only one of the VM.
const rootDevice = "/dev/vda"

func main() {
	tier, contained := syscall.Getenv(containerVariable)
	if tier == tierHost {
		end(boot(hostProcess()))
	}
	if unix.Getpid() != 1 {
		print("clearrun init: this is PID 1 of a VM or container; it would restart this machine\n")
		end(false)
	}
	if contained {
		end(boot(container()))
	}
	boot(platform{dial: dialHost, mountImage: mountDevice(rootDevice), watch: openStopwatch()})
	powerOff()
}

// end ends a process that is no VM's. Its exit code is for whoever runs this as a program: an app can.
func end(well bool) {
	if well {
		syscall.Exit(0)
	}
	syscall.Exit(1)
}

// powerOff ends the VM. The kernel runs with reboot=k: a restart is a write to the
// keyboard controller's port, which the monitor takes as the end.
func powerOff() {
	// The only error is EPERM, which PID 1 of the VM cannot get.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

// Stages of a start, in order, for the stop-watch.
const (
	stageInit      byte = 0x10 + iota // PID 1 runs
	stageConnected                    // the control connection stands
	stageStart                        // proto.Start is here
	stageRoot                         // the app's root is "/"
	stageMounted                      // everything in it is mounted
	stageStarted                      // the app has been executed
	stageExited                       // the app has ended
)
