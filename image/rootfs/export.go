package rootfs

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/erofs/go-erofs"
	"golang.org/x/sys/unix"
)

// Export writes the root file system in f as a tar (POSIX.1-2001, pax) to w: owners,
// modes, times, devices, hard links and extended attributes as they are. Every block is
// verified before it is used.
func Export(ctx context.Context, f io.ReaderAt, info Info, w io.Writer) error {
	fsys, err := openFiles(f, info)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	x := &exporter{ctx: ctx, fsys: fsys, tar: tar.NewWriter(w), first: make(map[int64]string)}
	if err := fs.WalkDir(fsys, ".", x.visit); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := x.tar.Close(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

type exporter struct {
	ctx   context.Context
	fsys  fs.FS
	tar   *tar.Writer
	first map[int64]string // inode number: the name under which it is in the tar
}

func (x *exporter) visit(p string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if err := x.ctx.Err(); err != nil {
		return err
	}
	stat, err := statOf(p, d)
	if err != nil {
		return err
	}
	h := headerOf(p, stat)
	if first, seen := x.first[stat.Ino]; seen && !d.IsDir() {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		h.PAXRecords = nil
		return x.tar.WriteHeader(h)
	}
	x.first[stat.Ino] = h.Name
	if h.Typeflag == tar.TypeSymlink {
		if h.Linkname, err = fs.ReadLink(x.fsys, p); err != nil {
			return err
		}
	}
	if err := x.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%q: %w", p, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return x.copy(p)
}

func (x *exporter) copy(p string) error {
	f, err := x.fsys.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(x.tar, f); err != nil {
		return fmt.Errorf("%q: %w", p, err)
	}
	return nil
}

// Linux's encoding of device numbers (linux/kdev_t.h, new_decode_dev).
const (
	majorMask  = 0xfff00
	majorShift = 8
	minorLow   = 0xff
	minorHigh  = 0xfff00
	minorShift = 12
)

// headerOf describes a file, but for the target of a symlink.
func headerOf(p string, stat *erofs.Stat) *tar.Header {
	h := &tar.Header{
		Name:    p,
		Mode:    int64(modeBits(stat.Mode)),
		Uid:     int(stat.UID),
		Gid:     int(stat.GID),
		ModTime: time.Unix(int64(stat.Mtime), int64(stat.MtimeNs)),
		Format:  tar.FormatPAX,
	}
	switch m := stat.Mode; m.Type() {
	case fs.ModeDir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
	case fs.ModeNamedPipe:
		h.Typeflag = tar.TypeFifo
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		h.Typeflag = tar.TypeBlock
		if m&fs.ModeCharDevice != 0 {
			h.Typeflag = tar.TypeChar
		}
		h.Devmajor = int64(stat.Rdev & majorMask >> majorShift)
		h.Devminor = int64(stat.Rdev&minorLow | stat.Rdev>>minorShift&minorHigh)
	default:
		h.Typeflag = tar.TypeReg
		h.Size = stat.Size
	}
	for name, value := range stat.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		// The reader puts a dot behind the names of ACLs, which are complete without.
		h.PAXRecords[paxXattr+strings.TrimSuffix(name, ".")] = value
	}
	return h
}

// modeBits gives Linux's permission bits.
func modeBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for bit, linux := range map[fs.FileMode]uint32{fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX} {
		if m&bit != 0 {
			bits |= linux
		}
	}
	return bits
}
