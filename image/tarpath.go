package image

import (
	"fmt"
	"strings"
)

// Linux's own bounds on names (linux/limits.h).
const (
	pathMax = 4096 // PATH_MAX, with its final NUL
	nameLen = 255  // NAME_MAX
)

// EntryPath returns the canonical form of a name in a layer's tar: relative, without
// "." or ".." and without a slash at the end; "." is the archive's root. It takes
// the "./" that tar writes when it packs a folder, and the slash behind folders;
// everything else that could be read in two ways is an error.
func EntryPath(name string) (string, error) {
	p := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	switch {
	case name == "." || name == "./":
		return ".", nil
	case p == "":
		return "", fmt.Errorf("entry %q: empty name", clip(name))
	case strings.HasPrefix(name, "/"):
		return "", fmt.Errorf("entry %q: absolute name", clip(name))
	case len(p) >= pathMax:
		return "", fmt.Errorf("entry %q: name longer than %d bytes", clip(name), pathMax-1)
	case strings.IndexByte(p, 0) >= 0:
		return "", fmt.Errorf("entry %q: NUL in the name", clip(name))
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("entry %q: path component %q is not allowed", clip(name), part)
		}
		if len(part) > nameLen {
			return "", fmt.Errorf("entry %q: path component longer than %d bytes", clip(name), nameLen)
		}
	}
	return p, nil
}

// LayerPath is EntryPath for an OCI layer. Its tar was made by one of many programs, so
// a slash at the start, doubled slashes and "." are read as every unpacker reads them.
func LayerPath(name string) (string, error) {
	parts := strings.Split(name, "/")
	kept := parts[:0]
	for _, part := range parts {
		if part != "" && part != "." {
			kept = append(kept, part)
		}
	}
	if len(kept) == 0 && name != "" {
		return ".", nil
	}
	return EntryPath(strings.Join(kept, "/"))
}

// CheckLinkTarget refuses what no symlink can hold.
func CheckLinkTarget(name, target string) error {
	if target == "" || len(target) >= pathMax || strings.IndexByte(target, 0) >= 0 {
		return fmt.Errorf("entry %q: bad symlink target %q", clip(name), clip(target))
	}
	return nil
}
