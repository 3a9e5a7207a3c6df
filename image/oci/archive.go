package oci

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/compression"
	"github.com/clearrun/clearrun/image/spool"
)

// linkHopsMax bounds symlinks that lead to symlinks inside an archive.
const linkHopsMax = 8

// archive is a tar whose files can be opened by name.
type archive struct {
	file    *os.File
	members map[string]member
}

// member is a regular file, or a symlink if target is set.
type member struct {
	at, size int64
	target   string
}

// OpenArchive opens a layout in a tar, which may be compressed. It owns file, which must
// be a regular one, also if it fails. A compressed one is unpacked to an unlinked file
// in tmpDir (empty: the system's own).
func OpenArchive(ctx context.Context, file *os.File, tmpDir string, limits image.Limits) (*Layout, error) {
	a, err := openArchive(ctx, file, tmpDir, limits)
	if err != nil {
		return nil, err
	}
	return newLayout(a, limits)
}

func openArchive(ctx context.Context, file *os.File, tmpDir string, limits image.Limits) (*archive, error) {
	limits, err := limits.OrDefault()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	plain, err := uncompressed(ctx, file, tmpDir, limits)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	a := &archive{file: plain, members: make(map[string]member)}
	if err := a.list(ctx, limits.Entries); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// uncompressed returns file if it is a plain tar, else a scratch file, and closes file.
func uncompressed(ctx context.Context, file *os.File, tmpDir string, limits image.Limits) (*os.File, error) {
	r, err := compression.NewReader(image.ContextReader{Ctx: ctx, R: file}, limits)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.IsPlain() {
		return file, nil
	}
	plain, err := spool.New(tmpDir)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(plain, r)
	if err = errors.Join(err, r.Finish()); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return plain, file.Close()
}

// list reads the headers of the whole archive.
func (a *archive) list(ctx context.Context, most int) error {
	info, err := a.file.Stat()
	if err != nil {
		return err
	}
	whole := io.NewSectionReader(a.file, 0, info.Size())
	tr := tar.NewReader(whole)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return image.ArchiveError(err)
		}
		at, err := whole.Seek(0, io.SeekCurrent)
		if err != nil {
			return image.ArchiveError(err)
		}
		if err := a.add(h, at); err != nil {
			return err
		}
		if len(a.members) > most {
			return fmt.Errorf("read archive: more than %d entries (--max-image-files raises the limit)", most)
		}
	}
}

func (a *archive) add(h *tar.Header, at int64) error {
	name, err := image.EntryPath(h.Name)
	if err != nil {
		return err
	}
	var m member
	switch h.Typeflag {
	case tar.TypeReg:
		m = member{at: at, size: h.Size}
	case tar.TypeSymlink: // docker save's way to name a layer twice
		m.target = h.Linkname
	case tar.TypeLink:
		m.target = path.Join("/", h.Linkname)
	case tar.TypeDir:
		return nil
	default:
		return fmt.Errorf("entry %q: unknown type %q", name, h.Typeflag)
	}
	if _, twice := a.members[name]; twice {
		return fmt.Errorf("entry %q: twice in the archive", name)
	}
	a.members[name] = m
	return nil
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	for range linkHopsMax {
		m, ok := a.members[name]
		if !ok {
			return nil, 0, fs.ErrNotExist
		}
		if m.target == "" {
			r := io.NewSectionReader(a.file, m.at, m.size)
			return io.NopCloser(bufio.NewReaderSize(r, bufferSize)), m.size, nil
		}
		if !path.IsAbs(m.target) {
			m.target = path.Join("/", path.Dir(name), m.target)
		}
		name = path.Clean(m.target)[1:]
	}
	return nil, 0, fmt.Errorf("more than %d symlinks", linkHopsMax)
}

// Close closes the archive. What was opened from it fails from then on.
func (a *archive) Close() error { return a.file.Close() }
