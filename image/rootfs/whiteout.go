package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/image/erofs"
)

// The names by which a layer hides what is below it (OCI image-spec, layer.md,
// Whiteouts). Other names with metaPrefix belong to AUFS and are in no root.
const (
	whiteoutPrefix = ".wh."
	metaPrefix     = ".wh..wh."
	opaqueName     = ".wh..wh..opq"
)

// isWhiteout tells whether an entry is about the layers and no file itself.
func isWhiteout(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if strings.HasPrefix(part, whiteoutPrefix) {
			return true
		}
	}
	return false
}

// hide takes away what the layer's whiteouts name. The tree must not have anything of the
// layer's own yet. What is hidden is names: a file with another one stays.
func (t *tree) hide(layer image.Layer) error {
	tr := tar.NewReader(layer.Open())
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		p, _, err := entryPath(h.Name, layer)
		if err != nil {
			return err
		}
		if isWhiteout(p) {
			if err := t.whiteout(p); err != nil {
				return fmt.Errorf("entry %q: %w", p, err)
			}
		}
	}
}

// whiteout hides what the entry at p names. What is not there needs no hiding.
func (t *tree) whiteout(p string) error {
	dir, base := path.Split(p)
	if isWhiteout(dir) {
		if strings.Contains(dir, metaPrefix) {
			return nil
		}
		return errors.New("a whiteout with something in it")
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	switch {
	case base == opaqueName:
	case strings.HasPrefix(base, metaPrefix):
		return nil
	case name == "" || name == "." || name == "..":
		return errors.New("a whiteout of nothing")
	}
	parent := t.literal(strings.TrimSuffix(dir, "/"))
	if parent == nil {
		return nil
	}
	if base == opaqueName {
		clear(parent.Children)
	} else {
		delete(parent.Children, name)
	}
	return nil
}

// literal returns the folder at p, or nil. It follows no symlinks: where the layer makes a
// folder of what was a symlink, a whiteout in it means the folder, not where the
// symlink led.
func (t *tree) literal(p string) *erofs.Inode {
	cur := t.root
	if p == "" {
		return cur
	}
	for part := range strings.SplitSeq(p, "/") {
		if cur = cur.Children[part]; cur == nil {
			return nil
		}
	}
	if !cur.IsDir() {
		return nil
	}
	return cur
}
