package rootfs

import (
	"context"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/erofs/go-erofs"
)

// treeFS shows the tree to the EROFS writer as an fs.FS. Names are taken as they
// are: they need not be UTF-8, unlike what fs.ValidPath asks.
type treeFS struct {
	ctx  context.Context
	root *node
}

func (t treeFS) find(op, name string) (*node, error) {
	if n := t.root.lookup(name); n != nil {
		return n, nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

func (t treeFS) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	return &openNode{ctx: t.ctx, info: nodeInfo{path.Base(name), n}}, nil
}

func (t treeFS) Stat(name string) (fs.FileInfo, error) {
	n, err := t.find("stat", name)
	return nodeInfo{path.Base(name), n}, err
}

func (t treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	var entries []fs.DirEntry
	for _, child := range n.names() {
		entries = append(entries, fs.FileInfoToDirEntry(nodeInfo{child, n.children[child]}))
	}
	return entries, nil
}

// ReadLink is what the writer asks for the targets of symlinks.
func (t treeFS) ReadLink(name string) (string, error) {
	n, err := t.find("readlink", name)
	if err != nil {
		return "", err
	}
	return n.target, nil
}

// openNode reads a file's content out of the archive. The writer opens all files
// before it reads the first, so an openNode holds no descriptor and no buffer.
type openNode struct {
	ctx  context.Context
	info nodeInfo
	at   int64
}

func (f *openNode) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openNode) Close() error               { return nil }

func (f *openNode) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	if f.info.n.data == nil {
		return 0, io.EOF
	}
	n, err := f.info.n.data.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 {
		return n, nil
	}
	return n, err
}

// nodeInfo is a node under its name.
type nodeInfo struct {
	name string
	n    *node
}

func (i nodeInfo) Name() string       { return i.name }
func (i nodeInfo) Mode() fs.FileMode  { return i.n.mode }
func (i nodeInfo) IsDir() bool        { return i.n.mode.IsDir() }
func (i nodeInfo) ModTime() time.Time { return time.Unix(i.n.mtime, int64(i.n.mtimeNs)) }

func (i nodeInfo) Size() int64 {
	if i.n.data == nil {
		return 0
	}
	return i.n.data.Size()
}

// Sys hands the writer what fs.FileInfo has no room for.
func (i nodeInfo) Sys() any {
	return &erofs.Stat{
		UID:     i.n.uid,
		GID:     i.n.gid,
		Mtime:   uint64(i.n.mtime),
		MtimeNs: i.n.mtimeNs,
		Rdev:    i.n.rdev,
		Nlink:   i.n.links(),
		Xattrs:  i.n.xattrs,
	}
}

// links counts as Unix file systems do: a folder's own entry, its dot, and the dot-dot
// of every folder in it.
func (n *node) links() int {
	if !n.mode.IsDir() {
		return 1
	}
	links := 2
	for _, child := range n.children {
		if child.mode.IsDir() {
			links++
		}
	}
	return links
}
