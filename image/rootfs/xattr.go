package rootfs

import (
	"archive/tar"
	"strings"

	"github.com/clearrun/clearrun/image/erofs"
)

// paxXattr is the prefix of extended attributes in PAX records, as GNU tar,
// bsdtar and Go write them.
const paxXattr = "SCHILY.xattr."

// namespaces are those of Linux (xattr(7)). A name outside of them, such as those of
// macOS, cannot exist there, and tar leaves it out, too.
var namespaces = [...]string{"user.", "system.", "trusted.", "security."}

// overlayXattrs steer overlayfs (Documentation/filesystems/overlayfs.rst), whose lower
// layer the root image becomes. An image has no say in that.
var overlayXattrs = [...]string{"trusted.overlay.", "user.overlay."}

// xattrsOf returns the entry's extended attributes.
func xattrsOf(h *tar.Header) (erofs.Xattrs, error) {
	var attrs map[string]string
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || !hasAnyPrefix(name, namespaces[:]) || hasAnyPrefix(name, overlayXattrs[:]) {
			continue
		}
		if attrs == nil {
			attrs = make(map[string]string)
		}
		attrs[name] = value
	}
	return erofs.EncodeXattrs(attrs)
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
