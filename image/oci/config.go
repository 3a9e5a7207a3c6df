package oci

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/clearrun/clearrun/image"
)

func parseConfig(data []byte) (v1.Image, error) {
	var c v1.Image
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	if c.RootFS.Type != "layers" {
		return c, fmt.Errorf("config: root file system of type %.40q", c.RootFS.Type)
	}
	return c, checkPlatform(c.Platform)
}

// Meta returns what can be said of the image without its layers.
func (a *Artifact) Meta() (image.Meta, error) {
	m := image.Meta{
		Digest:      a.Digest(),
		Name:        a.Name,
		Labels:      labels(a.config, a.manifest.Annotations),
		Annotations: pairs(a.manifest.Annotations, nil),
	}
	app, err := appOf(a.config.Config)
	if err != nil {
		return image.Meta{}, fmt.Errorf("config: %w", err)
	}
	m.Apps = []image.App{app}
	return m, m.Validate()
}

// labels are those of the config and, as appc has them, os, arch and version.
func labels(c v1.Image, annotations map[string]string) []image.NameValue {
	own := []image.NameValue{{Name: "os", Value: c.OS}, {Name: "arch", Value: c.Architecture}}
	taken := map[string]bool{"os": true, "arch": true}
	if c.Config.Labels["version"] == "" {
		for _, from := range []map[string]string{annotations, c.Config.Labels} {
			if v := from[v1.AnnotationVersion]; v != "" && !taken["version"] {
				own = append(own, image.NameValue{Name: "version", Value: v})
				taken["version"] = true
			}
		}
	}
	return append(own, pairs(c.Config.Labels, taken)...)
}

// pairs lists a map by its keys, without those that are taken.
func pairs(m map[string]string, taken map[string]bool) []image.NameValue {
	var list []image.NameValue
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !taken[k] {
			list = append(list, image.NameValue{Name: k, Value: m[k]})
		}
	}
	return list
}

// appOf maps the execution parameters of a config (image spec, config.md) onto an app.
func appOf(c v1.ImageConfig) (image.App, error) {
	app := image.App{
		Exec:             slices.Clone(c.Entrypoint),
		DefaultArgs:      slices.Clone(c.Cmd),
		WorkingDirectory: c.WorkingDir,
		StopSignal:       c.StopSignal,
	}
	app.User, app.Group, _ = strings.Cut(c.User, ":")
	if app.User == "" {
		app.User = "0"
	}
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		app.WorkingDirectory = path.Join("/", c.WorkingDir)
	}
	for _, e := range c.Env {
		if key, value, ok := strings.Cut(e, "="); ok && key != "" {
			app.Environment = append(app.Environment, image.NameValue{Name: key, Value: value})
		}
	}
	for _, v := range slices.Sorted(maps.Keys(c.Volumes)) {
		if !path.IsAbs(v) {
			return app, fmt.Errorf("volume %.80q is not an absolute path", v)
		}
		app.MountPoints = append(app.MountPoints, image.MountPoint{Name: identifier(v), Path: path.Clean(v)})
	}
	for _, p := range slices.Sorted(maps.Keys(c.ExposedPorts)) {
		ports, err := portOf(p)
		if err != nil {
			return app, err
		}
		app.Ports = append(app.Ports, ports)
	}
	return app, nil
}

// portOf reads PORT[-LAST][/PROTOCOL]; without a protocol it is TCP.
func portOf(s string) (image.Port, error) {
	numbers, protocol, found := strings.Cut(s, "/")
	if !found {
		protocol = "tcp"
	}
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || to < from || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return image.Port{}, fmt.Errorf("exposed port %.40q: want PORT[/tcp|/udp|/sctp]", s)
	}
	return image.Port{Name: identifier(s), Protocol: protocol, Port: uint16(from), Count: uint16(to - from + 1)}, nil
}

// identifier makes an AC name of a path or port: appc's mount points and ports have
// one, OCI's have not.
func identifier(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	return strings.Trim(s, "-")
}
