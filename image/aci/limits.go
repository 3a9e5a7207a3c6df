package aci

import "errors"

// Limits bounds what an ACI may make its reader spend.
type Limits struct {
	Bytes    int64 // of the uncompressed tar
	Entries  int   // in the tar
	Ratio    int64 // uncompressed to compressed; checked from RatioFloor on
	Manifest int64 // bytes of the manifest
}

// ratioFloor is how much may come out of a decompressor before Ratio is looked
// at: short archives of mostly zeros are honest.
const ratioFloor = 64 << 20

// DefaultLimits are far above real images and far below what hurts a host.
func DefaultLimits() Limits {
	return Limits{Bytes: 64 << 30, Entries: 1 << 20, Ratio: 1000, Manifest: 4 << 20}
}

func (l Limits) orDefault() (Limits, error) {
	if l == (Limits{}) {
		return DefaultLimits(), nil
	}
	if l.Bytes <= 0 || l.Entries <= 0 || l.Ratio <= 0 || l.Manifest <= 0 {
		return l, errors.New("limits: each must be set")
	}
	return l, nil
}
