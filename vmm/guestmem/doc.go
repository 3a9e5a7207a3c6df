// Package guestmem holds the RAM of one guest and the map of its
// guest-physical address space.
//
// GuestMemory is for the monitor, which hands its Regions to KVM and loads the
// kernel into it, and for the virtio devices, which reach guest buffers only
// through its bounds checks. Every guest-physical address, port and interrupt
// line of the machine stands in layout.go, nowhere else.
//
// The guest reads and writes the same bytes at any time: whatever decides
// something must be read once, into a private copy. The package knows nothing
// of KVM, of kernels or of queues.
package guestmem
