package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/erofs"
)

// tree is the root file system to be.
type tree struct {
	root   *erofs.Inode
	limits image.Limits // what is left of them
	words  int64        // bytes of names, targets and attributes that may still come
}

// wordsPerFile is how many bytes of names, symlink targets and extended attributes files
// may have on average. Unlike their data, these are kept in memory.
const wordsPerFile = 512

// newFolder returns a folder as it is if no archive describes it.
func newFolder() *erofs.Inode {
	return &erofs.Inode{Mode: unix.S_IFDIR | 0o755, Children: make(map[string]*erofs.Inode)}
}

// build reads the layers, lowest first, into one tree.
func build(ctx context.Context, img *image.Image, limits image.Limits) (*tree, error) {
	t := &tree{root: newFolder(), limits: limits, words: wordsPerFile * int64(limits.Entries)}
	for _, layer := range img.Layers() {
		if err := t.apply(ctx, layer); err != nil {
			return nil, fmt.Errorf("layer %s: %w", layer.DiffID.Short(), err)
		}
	}
	if keep := img.Meta().PathWhitelist; len(keep) > 0 {
		prune(t.root, keep)
	}
	return t, nil
}

// apply adds one layer: first it hides what the layer's whiteouts name, whatever their
// place in the archive, so that they cannot reach the layer's own files; then it adds
// these. File contents stay in the archive.
func (t *tree) apply(ctx context.Context, layer image.Layer) error {
	if layer.HasWhiteouts() {
		if err := t.hide(layer); err != nil {
			return err
		}
	}
	archive := newEntries(layer, &t.limits.Bytes)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, h, data, err := archive.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if layer.HasWhiteouts() && isWhiteout(p) {
			continue
		}
		if err := t.add(p, h, layer, data); err != nil {
			return fmt.Errorf("entry %q: %w", p, err)
		}
	}
}

// add puts the entry into the tree.
func (t *tree) add(p string, h *tar.Header, layer image.Layer, data *fileData) error {
	if err := t.spend(len(path.Base(p)) + len(h.Linkname)); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		return t.addLink(p, h, layer)
	}
	fresh, err := newInode(h, data)
	if err == nil {
		err = t.spend(len(fresh.Xattrs))
	}
	if err == nil {
		err = t.count()
	}
	if err != nil {
		return err
	}
	if p == "." {
		if !fresh.IsDir() {
			return errors.New("the root is not a folder")
		}
		fresh.Children = t.root.Children
		t.root = fresh
		return nil
	}
	return t.insert(p, fresh)
}

// insert replaces what is at p; a folder over a folder keeps its content.
func (t *tree) insert(p string, fresh *erofs.Inode) error {
	parent, err := t.folder(path.Dir(p))
	if err != nil {
		return err
	}
	base := path.Base(p)
	if old := parent.Children[base]; old != nil && old.IsDir() && fresh.IsDir() {
		fresh.Children = old.Children
	}
	parent.Children[base] = fresh
	return nil
}

// addLink gives a file one more name.
func (t *tree) addLink(p string, h *tar.Header, layer image.Layer) error {
	target, inside, err := entryPath(h.Linkname, layer)
	if err != nil {
		return err
	}
	var found *erofs.Inode
	if inside {
		found = t.lookup(target)
	}
	if found == nil || found.IsDir() {
		return fmt.Errorf("hard link to %q, which is not a file before it", h.Linkname)
	}
	return t.insert(p, found)
}

// count takes one file off the limits.
func (t *tree) count() error {
	if t.limits.Entries--; t.limits.Entries < 0 {
		return errors.New("more files than the limit allows (--max-image-files raises it)")
	}
	return nil
}

// spend takes n bytes off what is kept in memory beside the files.
func (t *tree) spend(n int) error {
	if t.words -= int64(n); t.words < 0 {
		return errors.New("names, symlink targets and extended attributes are larger than the limit allows (--max-image-files raises it)")
	}
	return nil
}

// prune keeps the listed absolute paths and the folders above them (appc spec,
// aci.md, pathWhitelist). A listed folder does not keep its content.
func prune(root *erofs.Inode, keep []string) {
	kept := map[string]bool{"/": true}
	for _, p := range keep {
		for ; !kept[p]; p = path.Dir(p) {
			kept[p] = true
		}
	}
	pruneBelow(root, "/", kept)
}

func pruneBelow(n *erofs.Inode, dir string, kept map[string]bool) {
	for name, child := range n.Children {
		p := path.Join(dir, name)
		if !kept[p] {
			delete(n.Children, name)
			continue
		}
		pruneBelow(child, p, kept)
	}
}

// permissionBits are those of a tar header's mode that a file has.
const permissionBits = unix.S_ISUID | unix.S_ISGID | unix.S_ISVTX | 0o777

// newInode takes over what an entry says about itself.
func newInode(h *tar.Header, data *fileData) (*erofs.Inode, error) {
	if h.Uid < 0 || int64(h.Uid) >= math.MaxUint32 || h.Gid < 0 || int64(h.Gid) >= math.MaxUint32 {
		return nil, fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	n := &erofs.Inode{
		Mode:    uint32(h.Mode) & permissionBits,
		UID:     uint32(h.Uid),
		GID:     uint32(h.Gid),
		Mtime:   h.ModTime.Unix(),
		MtimeNs: uint32(h.ModTime.Nanosecond()),
	}
	var err error
	if n.Xattrs, err = xattrsOf(h); err != nil {
		return nil, err
	}
	return n, setType(n, h, data)
}

func setType(n *erofs.Inode, h *tar.Header, data *fileData) error {
	var err error
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		n.Mode |= unix.S_IFREG
		if data != nil {
			n.Data = data.content()
		}
	case tar.TypeDir:
		n.Mode |= unix.S_IFDIR
		n.Children = make(map[string]*erofs.Inode)
	case tar.TypeSymlink:
		n.Mode = unix.S_IFLNK | 0o777 // as Linux has it, whatever the archive says
		n.Target = h.Linkname
		return image.CheckLinkTarget(h.Name, h.Linkname)
	case tar.TypeChar:
		n.Mode |= unix.S_IFCHR
		n.Rdev, err = erofs.DeviceNumber(h.Devmajor, h.Devminor)
	case tar.TypeBlock:
		n.Mode |= unix.S_IFBLK
		n.Rdev, err = erofs.DeviceNumber(h.Devmajor, h.Devminor)
	case tar.TypeFifo:
		n.Mode |= unix.S_IFIFO
	default:
		return fmt.Errorf("unknown type %q", h.Typeflag)
	}
	return err
}

// entryPath turns an entry's name into a path below the root; inside is false if it
// belongs to the image format and not to the file system.
func entryPath(name string, layer image.Layer) (p string, inside bool, err error) {
	if layer.HasWhiteouts() {
		p, err = image.LayerPath(name)
		return p, err == nil, err
	}
	p, err = image.EntryPath(name)
	if err != nil || layer.Root == "" {
		return p, err == nil, err
	}
	if p == layer.Root {
		return ".", true, nil
	}
	p, inside = strings.CutPrefix(p, layer.Root+"/")
	return p, inside, nil
}
