package erofs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"
)

// Inode is one file. It may stand in any number of folders, under any names: those
// are its hard links. A folder stands in one.
type Inode struct {
	Mode     uint32 // type and permissions, as stat(2) has them
	UID, GID uint32
	Mtime    int64             // seconds since 1970
	MtimeNs  uint32            // and nanoseconds
	Rdev     uint32            // of devices, encoded as DeviceNumber does
	Xattrs   Xattrs            // extended attributes
	Target   string            // of a symlink
	Data     Content           // of a regular file; nil: it is empty
	Children map[string]*Inode // of a folder
}

// Content is the data of a regular file. One that is an io.ReaderAt, too, may have its
// last bytes stand behind the inode.
type Content interface {
	// Size is the number of bytes.
	Size() int64
	// Open starts to read at the first byte. There is nothing to close.
	Open() (io.Reader, error)
}

// IsDir tells whether n is a folder.
func (n *Inode) IsDir() bool { return n.Mode&unix.S_IFMT == unix.S_IFDIR }

// Linux's bounds on names (linux/limits.h): NAME_MAX, and PATH_MAX with its NUL.
const (
	nameMax   = 255
	targetMax = 4095
)

const nanosecondsMax = 1e9

// check refuses what the format, or Linux, cannot hold.
func (n *Inode) check() error {
	if n.Mode > math.MaxUint16 {
		return fmt.Errorf("mode %o", n.Mode)
	}
	if n.MtimeNs >= nanosecondsMax {
		return fmt.Errorf("%d nanoseconds", n.MtimeNs)
	}
	if n.Data != nil && n.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("only a regular file has data")
	}
	if len(n.Children) > 0 && !n.IsDir() {
		return errors.New("only a folder has files in it")
	}
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if n.Data != nil && n.Data.Size() < 0 {
			return fmt.Errorf("size %d", n.Data.Size())
		}
	case unix.S_IFLNK:
		if n.Target == "" || len(n.Target) > targetMax || strings.IndexByte(n.Target, 0) >= 0 {
			return fmt.Errorf("bad symlink target %.80q", n.Target)
		}
	case unix.S_IFDIR, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
	default:
		return fmt.Errorf("unknown type in mode %o", n.Mode)
	}
	return nil
}

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > nameMax || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("bad name %.300q", name)
	}
	return nil
}

// Linux's device numbers have 12 bits of major and 20 of minor; on disk they are
// kept in the encoding of linux/kdev_t.h, new_encode_dev.
const (
	majorMax      = 1<<12 - 1
	minorMax      = 1<<20 - 1
	minorLowBits  = 8
	minorLowMask  = 1<<minorLowBits - 1
	minorHighLift = 12 // of the upper minor bits, past the major
)

// DeviceNumber encodes a device's numbers for Rdev.
func DeviceNumber(major, minor int64) (uint32, error) {
	if major < 0 || major > majorMax || minor < 0 || minor > minorMax {
		return 0, fmt.Errorf("device %d:%d is out of range", major, minor)
	}
	ma, mi := uint32(major), uint32(minor)
	return mi&minorLowMask | ma<<minorLowBits | (mi&^minorLowMask)<<minorHighLift, nil
}
