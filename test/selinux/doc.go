// Package selinux tests clearrun on a host whose kernel enforces SELinux: Debian's stock
// kernel and policy, in a virtual machine that QEMU emulates, so that neither KVM nor a host
// with SELinux is needed. hack/selinux-vm.sh makes the policy.
package selinux
