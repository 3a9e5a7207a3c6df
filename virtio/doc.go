// Package virtio is the device side of virtio: split virtqueues, the
// virtio-mmio transport, and the contract that every device of the monitor
// fulfils.
//
// A Device sees DescriptorChains as readers and writers, never descriptors or
// ring indices. MMIOTransport owns one device, answers the guest's register
// accesses, and hands the device its Queues once the driver is ready. Package
// vmm places transports into the address space and wires their eventfds to
// KVM; the devices live in sub-packages, the driver's half for tests in
// virtiotest.
//
// The driver is hostile: all it writes is checked once, at the door, and no
// value of its may panic the monitor, keep it in a loop, or size an
// allocation. What breaks the rules of a ring ends in DEVICE_NEEDS_RESET.
//
// The package has no packed ring, no PCI, no legacy interface, and knows
// nothing of KVM.
//
// Source: Virtual I/O Device (VIRTIO) Version 1.3; section numbers are its.
package virtio
