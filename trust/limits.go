package trust

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Limits bound what an app of the image may get. The zero Limits bound neither
// capabilities nor memory nor CPUs, and give no more than the usual networks and ports, and no volume.
type Limits struct {
	Capabilities []string `json:"capabilities"` // all that it may hold; nil: not bounded
	MemoryBytes  uint64   `json:"memoryBytes"`  // 0: not bounded
	CPUs         int      `json:"cpus"`         // 0: not bounded
	// Networks are those it may have: "host", "user", "cni:NAME". "none" it always may.
	// Nil: DefaultNetworks.
	Networks []string `json:"networks"`
	// Ports are those of the host at which the world may reach it. Nil: DefaultPorts.
	Ports []PortRule `json:"ports"`
	// Volumes are the folders of the host that it may have. Nil: none.
	Volumes []VolumeRule `json:"volumes"`
	// SELinux says that nothing may run unless SELinux enforces its label.
	SELinux bool `json:"requireSELinux"`
}

// clone returns a copy that shares nothing with l.
func (l Limits) clone() Limits {
	l.Capabilities, l.Networks, l.Volumes, l.Ports = slices.Clone(l.Capabilities), slices.Clone(l.Networks), slices.Clone(l.Volumes), slices.Clone(l.Ports)
	return l
}

// LimitError is about something that an app may not have.
type LimitError struct {
	Required string // what it may have, to follow "allows"
	Found    string // what was asked for
}

func (e *LimitError) Error() string {
	return "the policy allows " + e.Required + "; asked for: " + e.Found
}

// The networks that an app may ask for. Those of CNI follow their prefix by name.
const (
	NetworkNone = "none" // loopback alone
	NetworkHost = "host" // the host's own
	NetworkUser = "user" // by a process of the user's, who need not be root
	NetworkCNI  = "cni:"
)

// DefaultNetworks are those that an app may have where nothing is said: neither of them
// lets it reach what listens on the host for the host alone.
func DefaultNetworks() []string { return []string{NetworkNone, NetworkUser} }

// cniName is what the CNI spec (Section 1, Configuration format) lets networks be called.
var cniName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)
})

// CheckNetwork says what is wrong with the name of a network.
func CheckNetwork(s string) error {
	if name, ok := strings.CutPrefix(s, NetworkCNI); ok {
		if !cniName().MatchString(name) {
			return fmt.Errorf("network %q: want cni:NAME, of letters, digits, _ . and -, the first a letter or digit", s)
		}
		return nil
	}
	switch s {
	case NetworkNone, NetworkHost, NetworkUser:
		return nil
	}
	return fmt.Errorf("network %q: want none, host, user or cni:NAME", s)
}

// allowedNetworks are those of l, with what goes without saying.
func (l Limits) allowedNetworks() []string {
	if l.Networks == nil {
		return DefaultNetworks()
	}
	return l.Networks
}

// AllowsNetwork returns a LimitError unless the app may have the network.
func (l Limits) AllowsNetwork(network string) error {
	if err := CheckNetwork(network); err != nil {
		return err
	}
	allowed := l.allowedNetworks()
	if network == NetworkNone || slices.Contains(allowed, network) {
		return nil
	}
	return &LimitError{"networks " + strings.Join(allowed, ", "), network}
}

// AllowsVolume returns a LimitError unless the app may have the host's folder or file. The source is
// absolute and holds no symbolic links: the caller resolves them, and mounts what it resolved.
func (l Limits) AllowsVolume(source string, readOnly bool) error {
	if !path.IsAbs(source) || path.Clean(source) != source {
		return fmt.Errorf("volume %q: want an absolute path, and no . or .. in it", source)
	}
	for _, v := range l.Volumes {
		if v.Path.fits(source) && (readOnly || !v.ReadOnly) {
			return nil
		}
	}
	asked := VolumeRule{PathPattern(source), readOnly}
	return &LimitError{l.VolumeWords(), asked.String()}
}

// VolumeWords lists the folders of the host that the app may have.
func (l Limits) VolumeWords() string {
	if len(l.Volumes) == 0 {
		return "no volumes"
	}
	var list []string
	for _, v := range l.Volumes {
		list = append(list, v.String())
	}
	return "volumes " + strings.Join(list, ", ")
}

// VolumeRule is a folder of the host that an app may have, with all below it.
type VolumeRule struct {
	Path     PathPattern
	ReadOnly bool // it may be read, not written
}

// ParseVolumeRule reads PATH:ro or PATH:rw.
func ParseVolumeRule(s string) (VolumeRule, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || s[i:] != ":ro" && s[i:] != ":rw" {
		return VolumeRule{}, fmt.Errorf("%q: say whether it may be written: PATH:ro or PATH:rw", s)
	}
	p, err := parsePathPattern(s[:i])
	if err != nil {
		return VolumeRule{}, fmt.Errorf("%q: %w", s, err)
	}
	return VolumeRule{Path: p, ReadOnly: s[i:] == ":ro"}, nil
}

func (v VolumeRule) String() string {
	if v.ReadOnly {
		return string(v.Path) + ":ro"
	}
	return string(v.Path) + ":rw"
}

// MarshalText is String.
func (v VolumeRule) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is ParseVolumeRule.
func (v *VolumeRule) UnmarshalText(text []byte) (err error) {
	*v, err = ParseVolumeRule(string(text))
	return err
}

// covers reports whether v allows all that other does.
func (v VolumeRule) covers(other VolumeRule) bool {
	return v.Path.covers(other.Path) && (!v.ReadOnly || other.ReadOnly)
}

// PathPattern is an absolute path, of which a component may be *, any one. It stands for
// all below it as well.
type PathPattern string

func parsePathPattern(s string) (PathPattern, error) {
	if !path.IsAbs(s) || path.Clean(s) != s {
		return "", errors.New("want an absolute path, without . or .. in it or / at its end")
	}
	for c := range strings.SplitSeq(s, "/") {
		if c != anyOne && strings.Contains(c, "*") {
			return "", errors.New("a wildcard stands for one whole component, *; what lies below a folder needs none")
		}
	}
	return PathPattern(s), nil
}

// components are those of a clean absolute path; "/" has none.
func components(p string) []string {
	if p == "/" {
		return nil
	}
	return strings.Split(p[1:], "/")
}

// fits reports whether the path, which is clean, is what p stands for. A * in it is a
// name like any other.
func (p PathPattern) fits(name string) bool {
	own, other := components(string(p)), components(name)
	if len(own) > len(other) {
		return false
	}
	for i, c := range own {
		if c != anyOne && c != other[i] {
			return false
		}
	}
	return true
}

// covers reports whether p stands for all that other does.
func (p PathPattern) covers(other PathPattern) bool { return p.fits(string(other)) }
