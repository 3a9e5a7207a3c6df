// Package vmrun is the vm tier: it runs a pod in a virtual machine of its own.
//
// Run starts a monitor process from the bundle inside the clearrun executable,
// hands it open descriptors and a sealed configuration, speaks the guest
// protocol with PID 1 of the VM, carries the app's standard streams, signals
// and terminal size, and gives back the app's exit code. The VM leaves nothing
// behind: no file, socket, mount or process, even if clearrun or the monitor is
// killed.
//
// It is for cmd/clearrun. It decides nothing about trust: a pod without a
// granting verdict is refused.
package vmrun
