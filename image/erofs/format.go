package erofs

import (
	"encoding/binary"
	"hash/crc32"

	"golang.org/x/sys/unix"
)

// BlockSize of every image, in bytes.
const (
	BlockSize = 1 << blockBits
	blockBits = 12
)

// struct erofs_super_block (erofs_fs.h): 128 bytes, 1024 bytes into the first block.
// Fields that are not named here are zero.
//
//	 0 le32 magic           16 le64 inos        44 le32 xattr_blkaddr
//	 4 le32 checksum        24 le64 build_time  48 u8   uuid[16]
//	 8 le32 feature_compat  32 le32 build_nsec  64 u8   volume_name[16]
//	12 u8   blkszbits       36 le32 blocks      80 le32 feature_incompat
//	13 u8   sb_extslots     40 le32 meta_blkaddr
//	14 le16 root_nid
const (
	superOffset = 1024

	superMagic    = 0
	superChecksum = 4
	superCompat   = 8
	superBits     = 12
	superRoot     = 14
	superInodes   = 16
	superBlocks   = 36
	superMeta     = 40
	superIncompat = 80

	magic = 0xe0f5e1e2

	compatChecksum  = 1 << 0 // EROFS_FEATURE_COMPAT_SB_CHKSUM
	compatMtime     = 1 << 1 // EROFS_FEATURE_COMPAT_MTIME
	incompatChunked = 1 << 2 // EROFS_FEATURE_INCOMPAT_CHUNKED_FILE
)

// superblock encodes the first block of the image.
func (p *plan) superblock(blocks, meta uint32) []byte {
	block := make([]byte, BlockSize)
	s := block[superOffset:]
	le := binary.LittleEndian
	le.PutUint32(s[superMagic:], magic)
	le.PutUint32(s[superCompat:], compatChecksum|compatMtime)
	s[superBits] = blockBits
	le.PutUint16(s[superRoot:], uint16(p.inodes[0].nid))
	le.PutUint64(s[superInodes:], uint64(len(p.inodes)))
	le.PutUint32(s[superBlocks:], blocks)
	le.PutUint32(s[superMeta:], meta)
	if p.chunked {
		le.PutUint32(s[superIncompat:], incompatChunked)
	}
	// CRC-32C to the end of the block, as the kernel has it: without the final inversion.
	le.PutUint32(s[superChecksum:], ^crc32.Checksum(s, crc32.MakeTable(crc32.Castagnoli)))
	return block
}

// struct erofs_inode_extended (erofs_fs.h), 64 bytes:
//
//	 0 le16 i_format        20 le32 i_ino
//	 2 le16 i_xattr_icount  24 le32 i_uid
//	 4 le16 i_mode          28 le32 i_gid
//	 6 le16 reserved        32 le64 i_mtime
//	 8 le64 i_size          40 le32 i_mtime_nsec
//	16 le32 i_u             44 le32 i_nlink
//	                        48 reserved
//
// i_u is the first block, the device number, or the format of the chunk table.
const (
	inodeSize   = 64
	slotBits    = 5 // an inode's number counts slots of 32 bytes
	slotSize    = 1 << slotBits
	inoFormat   = 0
	inoXattrs   = 2
	inoMode     = 4
	inoLength   = 8
	inoUnion    = 16
	inoNumber   = 20
	inoUID      = 24
	inoGID      = 28
	inoMtime    = 32
	inoMtimeNs  = 40
	inoLinks    = 44
	formatLarge = 1 // EROFS_INODE_LAYOUT_EXTENDED
	layoutShift = 1
)

// layout says where an inode's data is (EROFS_INODE_*).
type layout uint16

const (
	flatPlain  layout = 0 // in consecutive blocks
	flatInline layout = 2 // likewise, but the last bytes stand behind the inode
	chunkBased layout = 4 // in chunks, by a table behind the inode
)

// A table entry of 4 bytes is a chunk's first block, or hole. The chunk's size is given
// as the power of two of its blocks (EROFS_CHUNK_FORMAT_BLKBITS_MASK).
const (
	chunkEntrySize = 4
	hole           = 1<<32 - 1 // EROFS_NULL_ADDR
)

// appendInode encodes the inode, its attributes behind it.
func (n *inode) appendInode(b []byte, number uint32) []byte {
	var raw [inodeSize]byte
	le := binary.LittleEndian
	le.PutUint16(raw[inoFormat:], formatLarge|uint16(n.layout)<<layoutShift)
	le.PutUint16(raw[inoXattrs:], n.Xattrs.count())
	le.PutUint16(raw[inoMode:], uint16(n.Mode))
	le.PutUint64(raw[inoLength:], n.size)
	le.PutUint32(raw[inoUnion:], n.union())
	le.PutUint32(raw[inoNumber:], number)
	le.PutUint32(raw[inoUID:], n.UID)
	le.PutUint32(raw[inoGID:], n.GID)
	le.PutUint64(raw[inoMtime:], uint64(n.Mtime))
	le.PutUint32(raw[inoMtimeNs:], n.MtimeNs)
	le.PutUint32(raw[inoLinks:], n.links)
	b = append(b, raw[:]...)
	if len(n.Xattrs) > 0 {
		b = append(append(b, make([]byte, xattrHeaderSize)...), n.Xattrs...)
	}
	return b
}

func (n *inode) union() uint32 {
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		return n.Rdev
	case unix.S_IFREG:
		if n.layout == chunkBased {
			return uint32(chunkBits(n.size) - blockBits)
		}
	}
	return n.start
}

// struct erofs_dirent (erofs_fs.h), 12 bytes: le64 nid, le16 nameoff, u8 file_type,
// u8 reserved. A block of a folder holds its entries, then their names.
const direntSize = 12

// The file types of a folder's entries (EROFS_FT_*).
const (
	typeRegular = 1
	typeFolder  = 2
	typeChar    = 3
	typeBlock   = 4
	typeFIFO    = 5
	typeSocket  = 6
	typeSymlink = 7
)

func (n *Inode) fileType() byte {
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return typeFolder
	case unix.S_IFCHR:
		return typeChar
	case unix.S_IFBLK:
		return typeBlock
	case unix.S_IFIFO:
		return typeFIFO
	case unix.S_IFSOCK:
		return typeSocket
	case unix.S_IFLNK:
		return typeSymlink
	}
	return typeRegular
}
