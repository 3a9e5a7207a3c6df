package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/rootfs"
)

// Rendered is what a render function made of the distributed bytes.
type Rendered struct {
	Info rootfs.Info
	Meta image.Meta
}

// RenderFunc writes a root image to root, which is empty and open for reading and
// writing. Scratch files may go to the folder scratch; they are gone when Put ends.
// If it fails, nothing is kept.
type RenderFunc func(ctx context.Context, root *os.File, scratch string) (Rendered, error)

// Put returns the image of the distributed bytes with the digest source. If the store
// does not have it, render makes it; of any number of concurrent calls for one source,
// in any number of processes, one does. The entry appears complete or not at all.
func (s *Store) Put(ctx context.Context, source image.Digest, render RenderFunc) (*Entry, error) {
	if source.IsZero() {
		return nil, errors.New("store: no digest")
	}
	lock, err := s.lockSource(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer lock.release()
	// Another run may have rendered it while this one waited.
	if e, err := s.Lookup(source); !errors.Is(err, ErrNotFound) {
		return e, err
	}
	tmp, err := s.newTmp()
	if err != nil {
		return nil, s.explain(err)
	}
	defer tmp.remove()
	digest, err := s.fill(ctx, tmp, render)
	if err != nil {
		return nil, s.explain(err)
	}
	entry, err := s.settle(ctx, tmp, digest)
	if err != nil {
		return nil, s.explain(err)
	}
	if err := s.writeSource(tmp, source, digest); err != nil {
		return nil, errors.Join(s.explain(err), entry.Close())
	}
	return entry, nil
}

// fill makes the two files of the entry in tmp and syncs them.
func (s *Store) fill(ctx context.Context, tmp *tmpEntry, render RenderFunc) (digest image.Digest, err error) {
	if err := s.root.Mkdir(tmp.entry(), dirMode); err != nil {
		return digest, err
	}
	name := filepath.Join(tmp.entry(), rootFile)
	made, err := s.renderTo(ctx, name, tmp, render)
	if err != nil {
		return digest, err
	}
	verity, err := s.enableVerity(name, made.Info)
	if err != nil {
		return digest, err
	}
	record, err := seal(s.key, purposeImage, imageRecord{made.Info, made.Meta, verity})
	if err != nil {
		return digest, err
	}
	if err := s.writeFile(filepath.Join(tmp.entry(), metaFile), record); err != nil {
		return digest, err
	}
	return made.Meta.Digest, s.syncDir(tmp.entry())
}

// renderTo has the root image made, and syncs it.
func (s *Store) renderTo(ctx context.Context, name string, tmp *tmpEntry, render RenderFunc) (made Rendered, err error) {
	root, err := s.create(name)
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if made, err = render(ctx, root, s.path(tmp.name)); err != nil {
		return made, err
	}
	if err := errors.Join(made.Meta.Validate(), made.Info.Validate(), ctx.Err()); err != nil {
		return made, err
	}
	if err := checkRendered(root, made.Info); err != nil {
		return made, fmt.Errorf("the rendered image is wrong: %w", err)
	}
	return made, root.Sync()
}

// enableVerity has the kernel check the root image as it is read, from now on for ever, where
// the file system can do that, and computes the digest of what it is then.
func (s *Store) enableVerity(name string, info rootfs.Info) (*rootfs.Hash, error) {
	root, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if rootfs.EnableFSVerity(root) != nil {
		return nil, nil
	}
	digest, err := rootfs.FSVerityDigest(root, info.Size)
	return &digest, err
}

// checkRendered finds a fault in the renderer before it is kept for ever.
func checkRendered(root *os.File, info rootfs.Info) error {
	stat, err := root.Stat()
	if err != nil {
		return err
	}
	if stat.Size() != int64(info.Size) {
		return fmt.Errorf("%d bytes, want %d", stat.Size(), info.Size)
	}
	return rootfs.VerifyTree(root, info)
}

// settle makes room for the finished entry, as far as there is a quota, and commits it.
func (s *Store) settle(ctx context.Context, tmp *tmpEntry, digest image.Digest) (*Entry, error) {
	if s.quota == 0 {
		return s.commit(tmp, digest)
	}
	// Two that settle at once would each find room.
	guard, err := s.guard(imagesDir)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	size, err := s.sizeOf(tmp.entry())
	if err == nil {
		err = s.makeRoom(ctx, digest, size)
	}
	if err != nil {
		return nil, err
	}
	return s.commit(tmp, digest)
}

// commit moves the finished entry to its place and opens it from there. If the place
// is taken, because other bytes hold the same image, what is there stays.
func (s *Store) commit(tmp *tmpEntry, digest image.Digest) (*Entry, error) {
	// In use from the moment that others see it.
	name := filepath.Join(tmp.entry(), rootFile)
	root, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := s.hold(name, root); err != nil {
		return nil, err
	}
	for {
		err := s.root.Rename(tmp.entry(), filepath.Join(imagesDir, digest.String()))
		taken := errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY)
		if err != nil && !taken {
			return nil, err
		}
		if err := s.syncDir(imagesDir); err != nil {
			return nil, err
		}
		entry, err := s.Get(digest)
		if taken && errors.Is(err, ErrNotFound) {
			continue // what was there was taken out meanwhile
		}
		return entry, err
	}
}

// Point says that the distributed bytes with the digest source hold this image of the
// store, whatever was known of them before.
func (s *Store) Point(source, digest image.Digest) error {
	tmp, err := s.newTmp()
	if err != nil {
		return s.explain(err)
	}
	defer tmp.remove()
	return s.explain(s.writeSource(tmp, source, digest))
}

func (s *Store) writeSource(tmp *tmpEntry, source, digest image.Digest) error {
	record, err := seal(s.key, purposeSource, sourceRecord{source, digest})
	if err != nil {
		return err
	}
	name := filepath.Join(tmp.name, "source")
	if err := s.writeFile(name, record); err != nil {
		return err
	}
	if err := s.root.Rename(name, filepath.Join(sourcesDir, source.String())); err != nil {
		return err
	}
	return s.syncDir(sourcesDir)
}

func (s *Store) create(name string) (*os.File, error) {
	return s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, fileMode)
}

func (s *Store) writeFile(name string, data []byte) error {
	f, err := s.create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the names in a folder durable.
func (s *Store) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// explain adds what a user can do about a full disk.
func (s *Store) explain(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("store: no space left in %s: free some, or delete images in %s: %w",
			s.dir, s.path(imagesDir), err)
	}
	return err
}
