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
	// Relabel says whether it gets an SELinux label by which the app may use it.
	Relabel Relabel
}

// Relabel is the SELinux label that a volume is to get, in docker's words.
type Relabel string

// Volumes keep their label; share one that all containers may use; or get that of the app's
// own files, which no other container may use.
const (
	RelabelNone    Relabel = ""
	RelabelShared  Relabel = "z"
	RelabelPrivate Relabel = "Z"
)

func (v Volume) String() string {
	var options []string
	if v.ReadOnly {
		options = append(options, "ro")
	}
	if v.Relabel != RelabelNone {
		options = append(options, string(v.Relabel))
	}
	s := v.Source + ":" + v.Target
	if len(options) > 0 {
		s += ":" + strings.Join(options, ",")
	}
	return s
}

// ParseVolume reads HOST-DIR:CONTAINER-DIR[:OPTION,...], with the options ro or rw, z or Z.
func ParseVolume(s string) (Volume, error) {
	parts := strings.Split(s, ":")
	bad := func(why string) (Volume, error) {
		return Volume{}, fmt.Errorf("volume %q: %s", s, why)
	}
	if len(parts) != 2 && len(parts) != 3 {
		return bad("want HOST-DIR:CONTAINER-DIR, with :ro, :rw, :z or :Z behind it")
	}
	v := Volume{Source: parts[0], Target: parts[1]}
	if len(parts) == 3 {
		if !v.options(strings.Split(parts[2], ",")) {
			return bad("want ro or rw at its end, and z or Z for SELinux, such as :ro,z")
		}
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

// options takes what stands behind the second colon; ok: it is known and contradicts nothing.
func (v *Volume) options(list []string) (ok bool) {
	access := false // it has been said who may write
	for _, option := range list {
		switch option {
		case "ro", "rw":
			if access {
				return false
			}
			access, v.ReadOnly = true, option == "ro"
		case "z", "Z":
			if v.Relabel != RelabelNone {
				return false
			}
			v.Relabel = Relabel(option)
		default:
			return false
		}
	}
	return true
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
		if v.Relabel != RelabelNone && tier == trust.TierHost {
			return nil, fmt.Errorf("volume %s: an app at tier host has no SELinux label of its own: leave out %s", v, v.Relabel)
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
