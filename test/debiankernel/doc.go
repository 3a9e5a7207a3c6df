// Package debiankernel boots a stock kernel of Debian's in a virtual machine that QEMU emulates,
// for tests of what the host's own kernel may lack: neither KVM nor a host with SELinux or
// dm-verity is needed. hack/debian-kernel.sh gets the kernels. The root is an initramfs of
// a test's guest program, clearrun, busybox's image and modules; package inside is the guest's half.
package debiankernel
