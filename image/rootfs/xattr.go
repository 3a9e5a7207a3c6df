package rootfs

import (
	"archive/tar"
	"fmt"
	"strings"
)

// paxXattr is the prefix of extended attributes in PAX records, as GNU tar,
// bsdtar and Go write them.
const paxXattr = "SCHILY.xattr."

// Bounds of extended attributes (linux/limits.h), and of all of one file together,
// which EROFS counts in 16 bits of 4 bytes.
const (
	xattrNameMax  = 255
	xattrValueMax = 65535
	xattrTotalMax = 128 << 10
)

// aclNames are complete names that EROFS has a prefix number for. The writer knows
// those prefixes only with a dot behind them.
var aclNames = [...]string{"system.posix_acl_access", "system.posix_acl_default"}

// xattrsOf returns the entry's extended attributes by the names the EROFS writer
// takes. Only namespaces that EROFS can hold are accepted.
func xattrsOf(h *tar.Header) (map[string]string, error) {
	var attrs map[string]string
	total := 0
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		onDisk, err := xattrName(name)
		if err != nil {
			return nil, err
		}
		total += len(name) + len(value)
		if len(value) > xattrValueMax || total > xattrTotalMax {
			return nil, fmt.Errorf("extended attribute %q: too large", name)
		}
		if attrs == nil {
			attrs = make(map[string]string)
		}
		attrs[onDisk] = value
	}
	return attrs, nil
}

func xattrName(name string) (string, error) {
	if len(name) > xattrNameMax || strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("extended attribute %.80q: bad name", name)
	}
	for _, acl := range aclNames {
		if name == acl {
			return acl + ".", nil
		}
	}
	for _, prefix := range [...]string{"user.", "trusted.", "security."} {
		if strings.HasPrefix(name, prefix) && len(name) > len(prefix) {
			return name, nil
		}
	}
	return "", fmt.Errorf("extended attribute %q: namespace is not supported", name)
}
