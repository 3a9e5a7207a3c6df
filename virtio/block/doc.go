// Package block is a read-only virtio block device (5.2) whose every read is
// checked against a Merkle tree before the guest sees a byte.
//
// It serves the monitor as the guest's root disk. The tree is dm-verity's
// on-disk format, kept in the same file behind the data, so that other tools
// can make and check it; the guest needs to know nothing of it. Data is read
// into a private buffer, verified there, and only then copied into guest
// memory: neither the host's storage nor the guest can change it in between.
//
// The package detects no image format, writes nothing, and does not make
// trees.
//
// Sources: VIRTIO 1.3, 5.2; Linux Documentation/admin-guide/device-mapper/
// verity.rst.
package block
