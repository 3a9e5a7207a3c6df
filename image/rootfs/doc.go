// Package rootfs renders an image's layers into the one file that the VM runs
// from: an EROFS file system, and behind it the dm-verity hash tree over it. The
// same layers give the same bytes, everywhere and always, so the root hash can be
// compared and the result kept by the image's digest.
//
// Layers are merged by inode, as the file systems of a running container would be:
// hard links stay hard links, and one whose other name a later layer removes stays.
package rootfs
