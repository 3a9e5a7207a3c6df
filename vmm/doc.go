// Package vmm is clearrun's virtual machine monitor: it builds one small VM
// from open files and runs it until the guest powers off.
//
// It is for cmd/clearrun-monitor, which confines itself around it, and for
// tests. It opens no path but /dev/kvm, knows nothing of images, trust or
// what the guest runs, and takes every value that the guest controls as
// hostile.
//
// New builds the machine, Run runs it, Close takes it down. What differs on a
// host whose KVM emulates guest kernel mode is all in pvm.go.
package vmm
