// Package erofs writes EROFS file systems: uncompressed, with hard links, holes and
// extended attributes, and bit for bit the same for the same tree. It is for root
// images that a VM or a mount reads; it does not read any itself.
//
// The format is described in Linux, Documentation/filesystems/erofs.rst and
// fs/erofs/erofs_fs.h. An image made here is, from its first block: the superblock,
// the data of files, the data of folders, and the inodes with all that is small
// enough to stand behind them. Metadata comes last, so that everything but the
// superblock is written once, in order, by one pass over the files.
package erofs
