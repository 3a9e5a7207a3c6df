package aci

import (
	"encoding/json"
	"fmt"
	"math"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/appc/spec/schema"
	"github.com/appc/spec/schema/types"

	"github.com/clearrun/clearrun/image"
)

// parseManifest reads an image manifest (appc spec, aci.md, Image Manifest Schema).
// The digest is left for the caller to fill in.
func parseManifest(data []byte) (image.Meta, error) {
	if err := checkIsolators(data); err != nil {
		return image.Meta{}, fmt.Errorf("manifest: %w", err)
	}
	m, err := unmarshalManifest(data)
	if err != nil {
		return image.Meta{}, fmt.Errorf("manifest: %w", err)
	}
	meta, err := metaOf(m)
	if err != nil {
		return image.Meta{}, fmt.Errorf("manifest: %w", err)
	}
	return meta, nil
}

// unmarshalManifest turns a panic of the schema package into an error. The manifest
// is foreign data, and that package was not written with that in mind.
func unmarshalManifest(data []byte) (m *schema.ImageManifest, err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("malformed: %v", r)
		}
	}()
	m = new(schema.ImageManifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, err
	}
	return m, nil
}

// quantity is what a resource isolator's limit may look like (appc spec, types.md,
// Isolators). The schema package computes with any exponent; one of nine digits
// would keep it busy for hours.
var quantity = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[+-]?[0-9.]{1,24}([munkKMGTPE]i?|[eE][+-]?[0-9]{1,2})?$`)
})

// checkIsolators refuses isolator values that the schema package stumbles over.
func checkIsolators(data []byte) error {
	var m struct {
		App struct {
			Isolators []struct {
				Name  string           `json:"name"`
				Value *json.RawMessage `json:"value"`
			} `json:"isolators"`
		} `json:"app"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	for _, i := range m.App.Isolators {
		if i.Value == nil {
			return fmt.Errorf("isolator %q: no value", i.Name)
		}
		if !strings.HasPrefix(i.Name, "resource/") {
			continue
		}
		var v struct{ Limit, Request json.RawMessage }
		if err := json.Unmarshal(*i.Value, &v); err != nil {
			return fmt.Errorf("isolator %q: %w", i.Name, err)
		}
		for _, q := range []json.RawMessage{v.Limit, v.Request} {
			s := strings.Trim(string(q), `"`)
			if s != "" && s != "null" && !quantity().MatchString(s) {
				return fmt.Errorf("isolator %q: bad quantity %.40q", i.Name, s)
			}
		}
	}
	return nil
}

func metaOf(m *schema.ImageManifest) (image.Meta, error) {
	name, err := image.ParseName(m.Name.String())
	if err != nil {
		return image.Meta{}, err
	}
	meta := image.Meta{Name: name}
	for _, l := range m.Labels {
		meta.Labels = append(meta.Labels, image.NameValue{Name: l.Name.String(), Value: l.Value})
	}
	for _, a := range m.Annotations {
		meta.Annotations = append(meta.Annotations, image.NameValue{Name: a.Name.String(), Value: a.Value})
	}
	for _, p := range m.PathWhitelist {
		if !path.IsAbs(p) {
			return image.Meta{}, fmt.Errorf("pathWhitelist: %q is not absolute", p)
		}
		meta.PathWhitelist = append(meta.PathWhitelist, path.Clean(p))
	}
	if meta.Dependencies, err = dependenciesOf(m.Dependencies); err != nil {
		return image.Meta{}, err
	}
	if m.App == nil {
		return meta, nil
	}
	app, err := appOf(m.App)
	if err != nil {
		return image.Meta{}, err
	}
	meta.Apps = []image.App{app}
	return meta, nil
}

func appOf(a *types.App) (image.App, error) {
	app := image.App{
		Exec:             a.Exec,
		User:             a.User,
		Group:            a.Group,
		WorkingDirectory: a.WorkingDirectory,
	}
	for _, gid := range a.SupplementaryGIDs {
		if gid < 0 || int64(gid) >= math.MaxUint32 {
			return app, fmt.Errorf("app: supplementary GID %d is out of range", gid)
		}
		app.SupplementaryGIDs = append(app.SupplementaryGIDs, uint32(gid))
	}
	for _, e := range a.Environment {
		app.Environment = append(app.Environment, image.NameValue{Name: e.Name, Value: e.Value})
	}
	for _, m := range a.MountPoints {
		app.MountPoints = append(app.MountPoints,
			image.MountPoint{Name: m.Name.String(), Path: m.Path, ReadOnly: m.ReadOnly})
	}
	for _, p := range a.Ports {
		if p.Port > math.MaxUint16 || p.Count > math.MaxUint16 {
			return app, fmt.Errorf("app: port %q is out of range", p.Name)
		}
		app.Ports = append(app.Ports, image.Port{
			Name: p.Name.String(), Protocol: p.Protocol, Port: uint16(p.Port),
			Count: uint16(p.Count), SocketActivated: p.SocketActivated,
		})
	}
	for _, i := range a.Isolators {
		app.Isolators = append(app.Isolators, image.Isolator{Name: i.Name.String(), Value: *i.ValueRaw})
	}
	for _, h := range a.EventHandlers {
		app.EventHandlers = append(app.EventHandlers, image.EventHandler{Name: h.Name, Exec: h.Exec})
	}
	return app, nil
}
