package pod

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/trust"
)

// Volume is a directory or file of the host's that an app finds in its root.
type Volume struct {
	// Source is the host's path. In a Pod it is absolute and no symbolic link leads
	// through it: a runner that follows none mounts what the policy was asked about.
	Source string
	Target string // where the app finds it: absolute and clean
	// ReadOnly keeps the app from writing to it.
	ReadOnly bool
}

func (v Volume) String() string {
	if v.ReadOnly {
		return v.Source + ":" + v.Target + ":ro"
	}
	return v.Source + ":" + v.Target
}

// ParseVolume reads HOST-DIR:CONTAINER-DIR[:ro|rw].
func ParseVolume(s string) (Volume, error) {
	parts := strings.Split(s, ":")
	bad := func(why string) (Volume, error) {
		return Volume{}, fmt.Errorf("volume %q: %s", s, why)
	}
	if len(parts) != 2 && len(parts) != 3 {
		return bad("want HOST-DIR:CONTAINER-DIR, with :ro or :rw behind it")
	}
	v := Volume{Source: parts[0], Target: parts[1]}
	if len(parts) == 3 {
		if parts[2] != "ro" && parts[2] != "rw" {
			return bad("want ro or rw at its end")
		}
		v.ReadOnly = parts[2] == "ro"
	}
	switch {
	case v.Source == "":
		return bad("no directory of the host's in front of the colon")
	case !path.IsAbs(v.Target):
		return bad("its place in the container is not an absolute path")
	case path.Clean(v.Target) == "/":
		return bad("it cannot take the place of the root: run an image that holds it")
	case strings.IndexByte(s, 0) >= 0:
		return bad("NUL in it")
	}
	v.Target = path.Clean(v.Target)
	return v, nil
}

// resolveVolumes makes the volumes of a Pod, those first that others may lie in.
func resolveVolumes(asked []Volume, tier trust.Tier) ([]Volume, error) {
	if len(asked) > 0 && tier == trust.TierVM {
		return nil, fmt.Errorf("volume %s: a VM has none yet: leave it out, or ask for tier ns (--ns), where the policy allows it", asked[0])
	}
	var volumes []Volume
	for _, v := range asked {
		if slices.ContainsFunc(volumes, func(other Volume) bool { return other.Target == v.Target }) {
			return nil, fmt.Errorf("volume %s: there is another one at %s", v, v.Target)
		}
		source, err := filepath.Abs(v.Source)
		if err == nil {
			source, err = filepath.EvalSymlinks(source)
		}
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v, image.WithoutPath(err))
		}
		v.Source = source
		volumes = append(volumes, v)
	}
	slices.SortStableFunc(volumes, func(a, b Volume) int {
		return strings.Count(a.Target, "/") - strings.Count(b.Target, "/")
	})
	return volumes, nil
}
