package oci

import (
	"errors"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The platform that images are chosen for: that of the guest and of every host.
const (
	platformOS   = "linux"
	platformArch = "amd64"
)

// choose returns the manifest of an index for this platform: the plainest variant of
// it, else the only entry if that names no platform.
func choose(list []v1.Descriptor) (v1.Descriptor, error) {
	var found *v1.Descriptor
	var others []string
	for i, d := range list {
		if !IsManifest(d.MediaType) && !IsIndex(d.MediaType) {
			continue
		}
		p := d.Platform
		if p == nil {
			p = &v1.Platform{}
		}
		switch {
		case p.OS == platformOS && p.Architecture == platformArch && (p.Variant == "" || p.Variant == "v1"):
			if found == nil {
				found = &list[i]
			}
		case p.OS != "":
			others = append(others, strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/"))
		}
	}
	switch {
	case found != nil:
		return *found, nil
	case len(list) == 1 && list[0].Platform == nil:
		return list[0], nil
	case len(list) == 0:
		return v1.Descriptor{}, errors.New("index: is empty")
	}
	return v1.Descriptor{}, fmt.Errorf("index: has no image for %s/%s, but for %.400s",
		platformOS, platformArch, strings.Join(others, ", "))
}

func checkPlatform(p v1.Platform) error {
	if p.OS != platformOS || p.Architecture != platformArch {
		return fmt.Errorf("config: is for %.40s/%.40s, not for %s/%s", p.OS, p.Architecture, platformOS, platformArch)
	}
	return nil
}
