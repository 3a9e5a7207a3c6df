package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image/erofs"
)

// symlinksMax is how many symlinks a path may go through (path_resolution(7), MAXSYMLINKS).
const symlinksMax = 40

// walk follows a path through the tree, one folder below the other.
type walk struct {
	tree  *tree
	stack []*erofs.Inode // the root first
	rest  []string       // components to go
	links int
	make  bool // make folders that are missing
}

// folder returns the folder at p, made if need be. As for a program in the container,
// the way may lead through symlinks, and none leads out of the root.
func (t *tree) folder(p string) (*erofs.Inode, error) {
	w := walk{tree: t, stack: []*erofs.Inode{t.root}, make: true}
	return w.run(p)
}

// lookup returns what is at p, or nil. Only the way there may lead through symlinks.
func (t *tree) lookup(p string) *erofs.Inode {
	if p == "." {
		return t.root
	}
	w := walk{tree: t, stack: []*erofs.Inode{t.root}}
	parent, err := w.run(path.Dir(p))
	if err != nil {
		return nil
	}
	return parent.Children[path.Base(p)]
}

func (w *walk) run(p string) (*erofs.Inode, error) {
	w.push(p)
	for len(w.rest) > 0 {
		part := w.rest[len(w.rest)-1]
		w.rest = w.rest[:len(w.rest)-1]
		if err := w.step(part); err != nil {
			return nil, err
		}
	}
	return w.stack[len(w.stack)-1], nil
}

// push puts the components of p before those that are left to go.
func (w *walk) push(p string) {
	parts := strings.Split(p, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		w.rest = append(w.rest, parts[i])
	}
}

var errMissing = errors.New("is not there")

func (w *walk) step(part string) error {
	cur := w.stack[len(w.stack)-1]
	switch part {
	case "", ".":
		return nil
	case "..":
		if len(w.stack) > 1 {
			w.stack = w.stack[:len(w.stack)-1]
		}
		return nil
	}
	next := cur.Children[part]
	if next == nil {
		if !w.make {
			return errMissing
		}
		if err := w.tree.count(); err != nil {
			return err
		}
		next = newFolder()
		cur.Children[part] = next
	}
	switch next.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if len(w.stack) > w.tree.limits.Depth {
			return fmt.Errorf("folders nest deeper than %d (--max-image-depth raises it)", w.tree.limits.Depth)
		}
		w.stack = append(w.stack, next)
		return nil
	case unix.S_IFLNK:
		if w.links++; w.links > symlinksMax {
			return fmt.Errorf("%q: more than %d symlinks on the way", part, symlinksMax)
		}
		if strings.HasPrefix(next.Target, "/") {
			w.stack = w.stack[:1]
		}
		w.push(next.Target)
		return nil
	}
	return fmt.Errorf("%q is not a folder", part)
}
