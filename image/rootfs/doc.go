// Package rootfs renders an image's layers into the one file that the VM runs
// from: an EROFS file system, and behind it the dm-verity hash tree over it. The
// same image gives the same bytes, everywhere and always, so the root hash can be
// compared and the result kept by the image's digest.
//
// Hard links come out as separate files with equal content: the EROFS writer has
// no notion of them yet.
package rootfs
