package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
)

// node is one file of the root filesystem to be.
type node struct {
	mode     fs.FileMode
	uid, gid uint32
	mtime    int64 // seconds since 1970
	mtimeNs  uint32
	rdev     uint32            // devices: in Linux's encoding
	xattrs   map[string]string // full names
	target   string            // symlinks
	data     *io.SectionReader // regular files that are not empty
	children map[string]*node  // folders
}

// newFolder returns a folder as it is if the archive does not describe it.
func newFolder() *node {
	return &node{mode: fs.ModeDir | 0o755, children: make(map[string]*node)}
}

// build reads the layers, lowest first, into one tree.
func build(img *image.Image) (*node, error) {
	root := newFolder()
	for _, layer := range img.Layers() {
		if err := root.apply(layer); err != nil {
			return nil, fmt.Errorf("layer %s: %w", layer.DiffID.Short(), err)
		}
	}
	if keep := img.Meta().PathWhitelist; len(keep) > 0 {
		root.prune(keep)
	}
	return root, nil
}

// apply adds the entries of one layer. File contents stay in the archive.
func (n *node) apply(layer image.Layer) error {
	archive := layer.Open()
	tr := tar.NewReader(archive)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		p, inside, err := inRoot(h.Name, layer.Root)
		if err != nil {
			return err
		}
		if !inside {
			continue
		}
		// The tar reader stands at the first byte of the entry's data.
		at, err := archive.Seek(0, io.SeekCurrent)
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := n.add(p, h, layer.Root, io.NewSectionReader(archive, at, h.Size)); err != nil {
			return fmt.Errorf("entry %q: %w", p, err)
		}
	}
}

// inRoot turns an entry's name into a path below root; inside is false if it
// belongs to the image format and not to the file system.
func inRoot(name, root string) (p string, inside bool, err error) {
	p, err = image.EntryPath(name)
	if err != nil || root == "" {
		return p, err == nil, err
	}
	if p == root {
		return ".", true, nil
	}
	p, inside = strings.CutPrefix(p, root+"/")
	return p, inside, nil
}

// add puts the entry into the tree rooted at n.
func (n *node) add(p string, h *tar.Header, root string, data *io.SectionReader) error {
	if h.Typeflag == tar.TypeLink {
		return n.addLink(p, h, root)
	}
	fresh, err := newNode(h, data)
	if err != nil {
		return err
	}
	if p == "." {
		if !fresh.mode.IsDir() {
			return errors.New("the root is not a folder")
		}
		fresh.children = n.children
		*n = *fresh
		return nil
	}
	return n.insert(p, fresh)
}

// insert replaces what is at p; a folder over a folder keeps its content.
func (n *node) insert(p string, fresh *node) error {
	parent, err := n.folder(path.Dir(p))
	if err != nil {
		return err
	}
	base := path.Base(p)
	if old := parent.children[base]; old != nil && old.mode.IsDir() && fresh.mode.IsDir() {
		fresh.children = old.children
	}
	parent.children[base] = fresh
	return nil
}

// addLink makes a hard link a file of its own, with the same content.
func (n *node) addLink(p string, h *tar.Header, root string) error {
	target, inside, err := inRoot(h.Linkname, root)
	if err != nil {
		return err
	}
	var found *node
	if inside {
		found = n.lookup(target)
	}
	if found == nil || found.mode.IsDir() {
		return fmt.Errorf("hard link to %q, which is not a file before it", h.Linkname)
	}
	twin := *found
	return n.insert(p, &twin)
}

// folder returns the folder at p, made if need be. It follows no symlinks.
func (n *node) folder(p string) (*node, error) {
	if p == "." {
		return n, nil
	}
	cur := n
	for part := range strings.SplitSeq(p, "/") {
		next := cur.children[part]
		if next == nil {
			next = newFolder()
			cur.children[part] = next
		}
		if !next.mode.IsDir() {
			return nil, fmt.Errorf("%q is not a folder", part)
		}
		cur = next
	}
	return cur, nil
}

// lookup returns the node at p, or nil. It follows no symlinks.
func (n *node) lookup(p string) *node {
	if p == "." {
		return n
	}
	cur := n
	for part := range strings.SplitSeq(p, "/") {
		if cur = cur.children[part]; cur == nil {
			return nil
		}
	}
	return cur
}

// names returns the children's names in order.
func (n *node) names() []string {
	return slices.Sorted(maps.Keys(n.children))
}

// prune keeps the listed absolute paths and the folders above them (appc spec,
// aci.md, pathWhitelist). A listed folder does not keep its content.
func (n *node) prune(keep []string) {
	kept := map[string]bool{"/": true}
	for _, p := range keep {
		for ; !kept[p]; p = path.Dir(p) {
			kept[p] = true
		}
	}
	n.pruneBelow("/", kept)
}

func (n *node) pruneBelow(dir string, kept map[string]bool) {
	for name, child := range n.children {
		p := path.Join(dir, name)
		if !kept[p] {
			delete(n.children, name)
			continue
		}
		child.pruneBelow(p, kept)
	}
}

// newNode takes over what an entry says about itself.
func newNode(h *tar.Header, data *io.SectionReader) (*node, error) {
	if h.Uid < 0 || int64(h.Uid) >= math.MaxUint32 || h.Gid < 0 || int64(h.Gid) >= math.MaxUint32 {
		return nil, fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	n := &node{
		mode:    permissions(h.Mode),
		uid:     uint32(h.Uid),
		gid:     uint32(h.Gid),
		mtime:   h.ModTime.Unix(),
		mtimeNs: uint32(h.ModTime.Nanosecond()),
	}
	var err error
	if n.xattrs, err = xattrsOf(h); err != nil {
		return nil, err
	}
	return n, n.setType(h, data)
}

func (n *node) setType(h *tar.Header, data *io.SectionReader) error {
	switch h.Typeflag {
	case tar.TypeReg:
		if h.Size > 0 {
			n.data = data
		}
	case tar.TypeDir:
		n.mode |= fs.ModeDir
		n.children = make(map[string]*node)
	case tar.TypeSymlink:
		n.mode = fs.ModeSymlink | fs.ModePerm // as Linux has it, whatever the archive says
		n.target = h.Linkname
		return image.CheckLinkTarget(h.Name, h.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		n.mode |= fs.ModeDevice
		if h.Typeflag == tar.TypeChar {
			n.mode |= fs.ModeCharDevice
		}
		return n.setDevice(h.Devmajor, h.Devminor)
	case tar.TypeFifo:
		n.mode |= fs.ModeNamedPipe
	default:
		return fmt.Errorf("unknown type %q", h.Typeflag)
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

func (n *node) setDevice(major, minor int64) error {
	if major < 0 || major > majorMax || minor < 0 || minor > minorMax {
		return fmt.Errorf("device %d:%d is out of range", major, minor)
	}
	ma, mi := uint32(major), uint32(minor)
	n.rdev = mi&minorLowMask | ma<<minorLowBits | (mi&^minorLowMask)<<minorHighLift
	return nil
}

// permissions converts the mode bits of a tar header.
func permissions(mode int64) fs.FileMode {
	m := fs.FileMode(mode) & fs.ModePerm
	if mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}
