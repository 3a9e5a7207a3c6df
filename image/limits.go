package image

import "errors"

// Limits bounds what an image may make its reader spend. The zero Limits stands for
// DefaultLimits.
type Limits struct {
	Bytes    int64 // of the uncompressed tars, all layers together, holes of sparse files included
	Entries  int   // in the tars, all layers together; and files in the root, those folders included that no entry is about
	Depth    int   // of folders in folders
	Ratio    int64 // bytes out of a decompressor for one byte in
	Manifest int64 // bytes of a manifest, an index or a config
}

// DefaultLimits are far above real images and far below what hurts a host.
func DefaultLimits() Limits {
	return Limits{Bytes: 32 << 30, Entries: 1 << 20, Depth: 256, Ratio: 250, Manifest: 4 << 20}
}

// OrDefault gives DefaultLimits for the zero Limits, and refuses those that are not
// all greater than 0.
func (l Limits) OrDefault() (Limits, error) {
	if l == (Limits{}) {
		return DefaultLimits(), nil
	}
	if l.Bytes <= 0 || l.Entries <= 0 || l.Depth <= 0 || l.Ratio <= 0 || l.Manifest <= 0 {
		return l, errors.New("limits: each must be greater than 0")
	}
	return l, nil
}
