package vmm

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/clearrun/clearrun/vmm/guestmem"
)

// quietBoot spares the kernel what a VM has no use for: calibration loops,
// probing, console output. Each is in the kernel's kernel-parameters.txt.
var quietBoot = []string{
	"reboot=k",       // power off by port 0x64, which ends the VM
	"panic=-1",       // a panic ends it too, at once
	"no_timer_check", // the timer's interrupt needs no test
	"tsc=reliable",   // nor does the TSC need a watchdog
	"noreplace-smp",  // patching lock prefixes out costs more than it saves
	// Devices here reach all memory: none needs 64 MiB of bounce buffers, zeroed, in a VM with more than 3 GiB.
	"swiotlb=noforce",
	// The pages of the initramfs become files as they are, which tmpfs cannot do.
	"rootfstype=ramfs",
}

// kernelCmdLine is the command line of a machine whose TSC runs at tscKHz.
func kernelCmdLine(c *Config, tscKHz uint64) string {
	args := append([]string{}, quietBoot...)
	args = append(args,
		fmt.Sprintf("tsc_early_khz=%d", tscKHz),
		fmt.Sprintf("lpj=%d", tscKHz*1000/kernelHZ),
	)
	if c.VCPUs > 1 {
		// One pool of workers for all, and not one for each vCPU: they share their caches, or
		// the kernel cannot know which do.
		args = append(args, "workqueue.default_affinity_scope=system")
	}
	if c.VCPUs > runtime.NumCPU() {
		// All at once, they would spin for each other in turns on the host's few CPUs.
		args = append(args, "cpuhp.parallel=0")
	}
	if c.Console != nil {
		args = append(args, "console=ttyS0", "8250.nr_uarts=1")
	} else {
		// Without a driver for the port, which would cost the start a lot.
		args = append(args, "quiet", "8250.nr_uarts=0", "earlyprintk=serial,0x3f8,keep")
	}
	if c.OnMark != nil {
		args = append(args, fmt.Sprintf("boot_mark=%d CLEARRUN_MARK=%[1]d", guestmem.PortStopWatch))
	}
	for i := range c.Devices {
		args = append(args, fmt.Sprintf("virtio_mmio.device=%d@%#x:%d",
			guestmem.VirtioMMIOStride, guestmem.VirtioMMIO(i), guestmem.VirtioGSI(i)))
	}
	args = append(args, hostCmdLine(c.Host)...)
	if c.CmdLine != "" {
		args = append(args, c.CmdLine)
	}
	return strings.Join(args, " ")
}

// kernelHZ is CONFIG_HZ of the guest kernel; lpj counts TSC cycles in a jiffy.
const kernelHZ = 100
