package trust

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clearrun/clearrun/image"
)

// registryPattern is a glob over the registries in OCI images' names: HOST or HOST:PORT, where
// * stands for one whole label of the host. Empty: not given.
type registryPattern string

func parseRegistryPattern(s string) (registryPattern, error) {
	host, port, hasPort := strings.Cut(s, ":")
	labels := strings.Split(host, ".")
	for i, label := range labels {
		switch {
		case label == anyOne:
			labels[i] = "x"
		case strings.Contains(label, "*"):
			return "", fmt.Errorf("registry %q: a wildcard stands for one whole label of the host: *.example.com", s)
		case label == "":
			return "", fmt.Errorf("registry %q: want HOST or HOST:PORT, such as registry.example.com:5000", s)
		}
	}
	plain := strings.Join(labels, ".")
	if hasPort {
		plain += ":" + port
	}
	if _, err := image.ParseName(plain + "/x"); err != nil || strings.ContainsAny(s, "/~_") {
		return "", fmt.Errorf("registry %q: want HOST or HOST:PORT, such as registry.example.com:5000", s)
	}
	return registryPattern(s), nil
}

// covers reports whether each registry that fits other fits r. A registry is a pattern, too.
func (r registryPattern) covers(other registryPattern) bool {
	host, port, _ := strings.Cut(string(r), ":")
	otherHost, otherPort, _ := strings.Cut(string(other), ":")
	return port == otherPort && slices.EqualFunc(strings.Split(host, "."), strings.Split(otherHost, "."),
		func(own, other string) bool { return own == anyOne || own == other })
}

// names is the widest pattern of the names in these registries.
func (r registryPattern) names() pattern {
	if strings.Contains(string(r), anyOne) {
		return pattern{anyOne, anyBelow}
	}
	return pattern{string(r), anyBelow}
}

// registry returns that in the name of an OCI image; empty: there is none. ACIs' names are
// of whoever owns the domain, and come from anywhere.
func (r Request) registry() registryPattern {
	host, _, nested := strings.Cut(string(r.Name), "/")
	if !nested || !r.Evidence.cosign {
		return ""
	}
	return registryPattern(host)
}

// contradiction says why no image can have both the name and the registry; empty: one can.
func (m match) contradiction() string {
	if m.registry == "" || len(m.name) == 0 || m.name.all() {
		return ""
	}
	first := m.name[0]
	if len(m.name) < 2 || first != anyOne && !m.registry.covers(registryPattern(first)) {
		return fmt.Sprintf("name %s is in no registry %s, so it matches no image", m.name, m.registry)
	}
	return ""
}
