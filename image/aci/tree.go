package aci

import (
	"archive/tar"
	"fmt"
	"path"
	"strings"

	"github.com/clearrun/clearrun/image"
)

// The two names at the top of an ACI (appc spec, aci.md, Image Layout).
const (
	manifestName = "manifest"
	rootName     = "rootfs"
)

// kind is what the archive has put at a path so far.
type kind uint8

const (
	kindAbsent    kind = iota
	kindImplied        // a folder, known by what is in it
	kindDirectory      // a folder with an entry of its own
	kindSymlink
	kindFile // also devices and FIFOs
)

// tree remembers every path of the archive, so that no entry can mean two things
// to two readers: nothing twice, nothing through a symlink, no link to nowhere.
type tree map[string]kind

// add checks the entry and takes it in. It returns the canonical path, "." for the
// archive's own root.
func (t tree) add(h *tar.Header) (string, error) {
	p, err := image.EntryPath(h.Name)
	if err != nil {
		return "", err
	}
	if err := checkHeader(h, p); err != nil {
		return "", err
	}
	if t[p] > kindImplied {
		return "", fmt.Errorf("entry %q: twice in the archive", p)
	}
	k := kindOf(h.Typeflag)
	if t[p] == kindImplied && k != kindDirectory {
		return "", fmt.Errorf("entry %q: replaces a folder", p)
	}
	if err := t.addParents(p); err != nil {
		return "", err
	}
	if h.Typeflag == tar.TypeLink {
		if k, err = t.linkTarget(h, p); err != nil {
			return "", err
		}
	}
	t[p] = k
	return p, nil
}

// addParents makes sure that every folder above p is a folder.
func (t tree) addParents(p string) error {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		switch t[dir] {
		case kindDirectory, kindImplied:
			return nil // its own parents were checked when it came
		case kindSymlink:
			return fmt.Errorf("entry %q: goes through the symlink %q", p, dir)
		case kindFile:
			return fmt.Errorf("entry %q: %q is not a folder", p, dir)
		}
		t[dir] = kindImplied
	}
	return nil
}

// linkTarget returns the kind of what a hard link points at.
func (t tree) linkTarget(h *tar.Header, p string) (kind, error) {
	target, err := image.EntryPath(h.Linkname)
	if err != nil {
		return 0, fmt.Errorf("entry %q: hard link: %w", p, err)
	}
	if !strings.HasPrefix(target, rootName+"/") {
		return 0, fmt.Errorf("entry %q: hard link to %q outside of %s", p, target, rootName)
	}
	switch k := t[target]; k {
	case kindFile, kindSymlink:
		return k, nil
	case kindAbsent:
		return 0, fmt.Errorf("entry %q: hard link to %q, which is not there before it", p, target)
	default:
		return 0, fmt.Errorf("entry %q: hard link to the folder %q", p, target)
	}
}

func kindOf(typeflag byte) kind {
	switch typeflag {
	case tar.TypeDir:
		return kindDirectory
	case tar.TypeSymlink:
		return kindSymlink
	}
	return kindFile
}

// checkHeader looks at the entry alone.
func checkHeader(h *tar.Header, p string) error {
	switch top, _, nested := strings.Cut(p, "/"); {
	case p == ".":
		if h.Typeflag != tar.TypeDir {
			return fmt.Errorf("entry %q: not a folder", h.Name)
		}
	case top == manifestName && !nested:
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("entry %q: not a regular file", manifestName)
		}
	case top == rootName:
		if !nested && h.Typeflag != tar.TypeDir {
			return fmt.Errorf("entry %q: not a folder", rootName)
		}
	default:
		return fmt.Errorf("entry %q: an ACI holds only %s and %s", p, manifestName, rootName)
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return image.CheckLinkTarget(p, h.Linkname)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeDir, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return nil
	}
	return fmt.Errorf("entry %q: unknown type %q", p, h.Typeflag)
}
