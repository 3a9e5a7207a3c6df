// Package debianhost tests tiers ns and host on Debian's stock kernel, in a virtual machine:
// with dm-verity, fs-verity, loop devices, several file systems, udev and cgroups of version 2 alone, none of
// which the machine that runs the tests need have.
package debianhost
