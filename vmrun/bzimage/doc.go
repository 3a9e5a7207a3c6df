// Package bzimage takes the uncompressed kernel out of a bzImage, for `clearrun boot`:
// the monitor boots a vmlinux at its 64-bit entry, which saves the guest the decompression.
//
// It does so on the host, before there is a monitor, and boots nothing. The kernel runs
// where it was linked to: the relocations behind it, which serve KASLR, are not applied.
package bzimage
