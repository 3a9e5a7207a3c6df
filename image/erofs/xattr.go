package erofs

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Xattrs are extended attributes as they stand behind an inode: struct
// erofs_xattr_entry, one after the other, each padded to 4 bytes. EncodeXattrs
// makes them.
type Xattrs []byte

// Bounds of extended attributes (linux/limits.h), and of all of one file together:
// the format counts in 16 bits of 4 bytes.
const (
	xattrNameMax  = 255
	xattrValueMax = 65535
	xattrTotalMax = 128 << 10
)

// The header before the entries, struct erofs_xattr_ibody_header without shared
// attributes, and the fixed part of an entry: name length, name index, value size.
const (
	xattrHeaderSize = 12
	xattrEntrySize  = 4
	xattrAlign      = 4
)

// xattrPrefixes are the namespaces of EROFS_XATTR_INDEX_*. The ACLs' names are
// complete.
var xattrPrefixes = [...]struct {
	prefix string
	index  byte
	whole  bool
}{
	{"user.", 1, false},
	{"system.posix_acl_access", 2, true},
	{"system.posix_acl_default", 3, true},
	{"trusted.", 4, false},
	{"security.", 6, false},
}

// EncodeXattrs encodes attributes, given by their full names.
func EncodeXattrs(attrs map[string]string) (Xattrs, error) {
	var out Xattrs
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		value := attrs[name]
		index, rest, err := splitXattr(name)
		if err != nil {
			return nil, err
		}
		if len(value) > xattrValueMax {
			return nil, fmt.Errorf("extended attribute %q: too large", name)
		}
		out = append(out, byte(len(rest)), index)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(value)))
		out = append(append(out, rest...), value...)
		for len(out)%xattrAlign != 0 {
			out = append(out, 0)
		}
		if len(out) > xattrTotalMax {
			return nil, fmt.Errorf("extended attribute %q: too large, together with the others", name)
		}
	}
	return out, nil
}

func splitXattr(name string) (index byte, rest string, err error) {
	if len(name) > xattrNameMax || strings.IndexByte(name, 0) >= 0 {
		return 0, "", fmt.Errorf("extended attribute %.80q: bad name", name)
	}
	for _, p := range xattrPrefixes {
		if rest, ok := strings.CutPrefix(name, p.prefix); ok && (rest == "") == p.whole {
			return p.index, rest, nil
		}
	}
	return 0, "", fmt.Errorf("extended attribute %q: namespace is not supported", name)
}

// size is that of header and entries.
func (x Xattrs) size() int {
	if len(x) == 0 {
		return 0
	}
	return xattrHeaderSize + len(x)
}

// count is i_xattr_icount: entries in units of 4 bytes, and one for the header.
func (x Xattrs) count() uint16 {
	if len(x) == 0 {
		return 0
	}
	return uint16(1 + len(x)/xattrEntrySize)
}
