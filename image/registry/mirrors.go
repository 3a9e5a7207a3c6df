package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/clearrun/clearrun/image"
)

// Mirrors is the content of registries.yaml: what may stand in for which registry.
// Since an image is known by its digest and signature, a mirror need not be trusted; but
// it can hand out an older image for a tag, or none.
type Mirrors struct {
	Registries []Rule `yaml:"registries"`
}

// Rule is about the images below a prefix.
type Rule struct {
	// Prefix is of names, by whole components: docker.io, docker.io/library.
	Prefix image.Name `yaml:"prefix"`
	// Mirrors are asked first, in order.
	Mirrors []Mirror `yaml:"mirrors,omitempty"`
	// MirrorsOnly keeps the registry itself from being asked.
	MirrorsOnly bool   `yaml:"mirrorsOnly,omitempty"`
	PlainHTTP   bool   `yaml:"plainHTTP,omitempty"` // the registry speaks no TLS
	CA          string `yaml:"ca,omitempty"`        // file with its authority's certificate
}

// Mirror takes the place of the prefix: with mirror.example.com/hub for docker.io,
// docker.io/library/alpine is asked for as mirror.example.com/hub/library/alpine.
type Mirror struct {
	Location  image.Name `yaml:"location"`
	PlainHTTP bool       `yaml:"plainHTTP,omitempty"`
	CA        string     `yaml:"ca,omitempty"`
}

// mirrorsMax bounds registries.yaml in bytes.
const mirrorsMax = 1 << 20

// LoadMirrors reads the first of the files that exists. Without any there are none.
func LoadMirrors(paths ...string) (Mirrors, error) {
	for _, path := range paths {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Mirrors{}, fmt.Errorf("registries: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, mirrorsMax))
		if err != nil {
			return Mirrors{}, fmt.Errorf("registries: %w", err)
		}
		m, err := ParseMirrors(data)
		if err != nil {
			return Mirrors{}, fmt.Errorf("registries: %s: %w", path, err)
		}
		return m, nil
	}
	return Mirrors{}, nil
}

// ParseMirrors reads the text of registries.yaml. Unknown fields are errors.
func ParseMirrors(data []byte) (Mirrors, error) {
	var m Mirrors
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.DisallowUnknownField()).Decode(&m)
	if err != nil && !errors.Is(err, io.EOF) { // an empty file
		return Mirrors{}, err
	}
	seen := make(map[image.Name]bool)
	for _, r := range m.Registries {
		if seen[r.Prefix] {
			return Mirrors{}, fmt.Errorf("prefix %s: twice", r.Prefix)
		}
		seen[r.Prefix] = true
		if err := r.validate(); err != nil {
			return Mirrors{}, err
		}
	}
	return m, nil
}

func (r Rule) validate() error {
	if _, err := image.ParseName(string(r.Prefix)); err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	cas := []string{r.CA}
	for _, m := range r.Mirrors {
		if _, err := image.ParseName(string(m.Location)); err != nil {
			return fmt.Errorf("prefix %s: location: %w", r.Prefix, err)
		}
		cas = append(cas, m.CA)
	}
	for _, ca := range cas {
		if ca != "" && !filepath.IsAbs(ca) {
			return fmt.Errorf("prefix %s: ca %q is not an absolute path", r.Prefix, ca)
		}
	}
	return nil
}

// rule returns the rule with the longest prefix that fits, or nil.
func (m Mirrors) rule(name image.Name) *Rule {
	var found *Rule
	for i, r := range m.Registries {
		if name.Within(r.Prefix) && (found == nil || len(r.Prefix) > len(found.Prefix)) {
			found = &m.Registries[i]
		}
	}
	return found
}
