package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/erofs/go-erofs"
	"golang.org/x/sys/unix"
)

// Unpacking is how much of an image Unpack can bring over.
type Unpacking struct {
	// IDs is how many user and group IDs, from 0 on, files can have. 1: all files become
	// root's, as there is nobody else. With more, an owner beyond them is an error.
	IDs uint32
}

// Unpack writes the root file system in f into the empty folder root, of a file system that
// nobody else sees: modes, times, hard links, holes and extended attributes as they are, and
// owners as far as o reaches. Device nodes are left out, which a user namespace cannot make
// and no container could open. Every block is verified before it is used, and read once.
func Unpack(ctx context.Context, f io.ReaderAt, info Info, root *os.File, o Unpacking) error {
	fsys, err := openFiles(f, info)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	u := &unpacker{
		ctx: ctx, fsys: fsys, options: o, root: fmt.Sprintf("/proc/self/fd/%d/", root.Fd()),
		first: make(map[int64]string), buf: make([]byte, unpackBuffer),
	}
	if err := fs.WalkDir(fsys, ".", u.visit); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	// The deepest first: what is made in a folder changes its time.
	for i := len(u.folders) - 1; i >= 0; i-- {
		if err := u.finish(u.folders[i].path, u.folders[i].stat); err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
	}
	return nil
}

// unpackBuffer is how much of a file is copied at a time, a multiple of BlockSize.
const unpackBuffer = 256 << 10

type unpacker struct {
	ctx     context.Context
	fsys    fs.FS
	options Unpacking
	root    string           // with a slash at its end
	first   map[int64]string // inode number: the name that it was unpacked to
	folders []unpacked       // each before what is in it
	buf     []byte
}

type unpacked struct {
	path string
	stat *erofs.Stat
}

func (u *unpacker) visit(p string, d fs.DirEntry, err error) error {
	if err == nil {
		err = u.ctx.Err()
	}
	if err != nil {
		return err
	}
	stat, err := statOf(p, d)
	if err != nil {
		return err
	}
	to := u.root + path.Clean("/" + p)[1:]
	if d.IsDir() {
		u.folders = append(u.folders, unpacked{to, stat})
		if p == "." {
			return nil
		}
		return named(p, unix.Mkdir(to, 0o700))
	}
	if first, seen := u.first[stat.Ino]; seen {
		return named(p, unix.Linkat(unix.AT_FDCWD, first, unix.AT_FDCWD, to, 0))
	}
	made, err := u.make(p, to, stat)
	if err != nil || !made {
		return named(p, err)
	}
	u.first[stat.Ino] = to
	return named(p, u.finish(to, stat))
}

func named(p string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", p, err)
}

// make makes what is no folder, unless it is a device.
func (u *unpacker) make(p, to string, stat *erofs.Stat) (made bool, err error) {
	switch stat.Mode.Type() {
	case 0:
		return true, u.file(p, to)
	case fs.ModeSymlink:
		target, err := fs.ReadLink(u.fsys, p)
		if err != nil {
			return false, err
		}
		return true, unix.Symlink(target, to)
	case fs.ModeNamedPipe:
		return true, unix.Mknod(to, unix.S_IFIFO|0o600, 0)
	case fs.ModeSocket:
		return true, unix.Mknod(to, unix.S_IFSOCK|0o600, 0)
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return false, nil
	}
	return false, fmt.Errorf("unknown type %v", stat.Mode.Type())
}

// file copies a file's data and leaves out blocks of zeros, as the writer of the image has.
func (u *unpacker) file(p, to string) (err error) {
	in, err := u.fsys.Open(p)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	at := int64(0)
	for {
		n, err := io.ReadFull(in, u.buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if werr := writeSparse(out, u.buf[:n], at); werr != nil {
			return werr
		}
		at += int64(n)
		if err != nil {
			return out.Truncate(at)
		}
		if err := u.ctx.Err(); err != nil {
			return err
		}
	}
}

func writeSparse(out *os.File, data []byte, at int64) error {
	for len(data) > 0 {
		// As many blocks at once as are alike in whether there is anything in them.
		n, empty := min(BlockSize, len(data)), isZero(data[:min(BlockSize, len(data))])
		for n < len(data) && isZero(data[n:min(n+BlockSize, len(data))]) == empty {
			n = min(n+BlockSize, len(data))
		}
		if !empty {
			if _, err := out.WriteAt(data[:n], at); err != nil {
				return err
			}
		}
		data, at = data[n:], at+int64(n)
	}
	return nil
}

var zeros [BlockSize]byte

func isZero(block []byte) bool { return bytes.Equal(block, zeros[:len(block)]) }

// finish sets owner, attributes, mode and time, in this order: a change of owner takes
// set-user-ID bits and capabilities away.
func (u *unpacker) finish(to string, stat *erofs.Stat) error {
	uid, err := u.owner(stat.UID)
	if err != nil {
		return fmt.Errorf("user %w", err)
	}
	gid, err := u.owner(stat.GID)
	if err != nil {
		return fmt.Errorf("group %w", err)
	}
	if err := unix.Lchown(to, uid, gid); err != nil {
		return fmt.Errorf("change the owner to %d:%d: %w", uid, gid, err)
	}
	if err := u.setXattrs(to, stat.Xattrs); err != nil {
		return err
	}
	if stat.Mode.Type() != fs.ModeSymlink {
		if err := unix.Chmod(to, modeBits(stat.Mode)); err != nil {
			return fmt.Errorf("change the mode: %w", err)
		}
	}
	when := unix.Timespec{Sec: int64(stat.Mtime), Nsec: int64(stat.MtimeNs)}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
}

// owner is who a file of id's belongs to after unpacking.
func (u *unpacker) owner(id uint32) (int, error) {
	switch {
	case id < u.options.IDs:
		return int(id), nil
	case u.options.IDs == 1:
		return 0, nil
	}
	return 0, errors.New(strconv.FormatUint(uint64(id), 10) + " owns it, and the container has IDs below " +
		strconv.FormatUint(uint64(u.options.IDs), 10) + " alone")
}

// setXattrs leaves out what no user namespace may set, or its tmpfs cannot hold: attributes that
// only processes of the host's root see (trusted.*), and before Linux 6.6 user.*; and where root is
// the only user, lists of what others may.
func (u *unpacker) setXattrs(to string, attrs map[string]string) error {
	for name, value := range attrs {
		// The reader puts a dot behind the names of ACLs, which are complete without.
		name = strings.TrimSuffix(name, ".")
		err := unix.Lsetxattr(to, name, []byte(value), 0)
		switch {
		case err == nil:
		case strings.HasPrefix(name, "trusted.") && errors.Is(err, unix.EPERM):
		case strings.HasPrefix(name, "user.") && errors.Is(err, unix.EOPNOTSUPP):
		case strings.HasPrefix(name, "system.posix_acl_") && errors.Is(err, unix.EINVAL) && u.options.IDs == 1:
		default:
			return fmt.Errorf("set the attribute %q: %w", name, err)
		}
	}
	return nil
}
