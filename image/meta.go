package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Meta is what can be said of an image without its files. The store keeps it as
// JSON beside the rendered root.
type Meta struct {
	Digest      Digest      `json:"digest"`
	Name        Name        `json:"name"`
	Labels      []NameValue `json:"labels,omitempty"`
	Annotations []NameValue `json:"annotations,omitempty"`
	Apps        []App       `json:"apps,omitempty"`
	// ID is the digest of the image alone, where Digest covers what it depends on as well.
	// Zero: Digest does.
	ID Digest `json:"id,omitzero"`
	// Dependencies are images whose roots lie below this one's, lowest first (appc).
	Dependencies []Dependency `json:"dependencies,omitempty"`
	// PathWhitelist, if not empty, lists the only paths that exist in the rendered
	// root, absolute and clean (appc: pathWhitelist). Their parents exist too.
	PathWhitelist []string `json:"pathWhitelist,omitempty"`
}

// NameValue is a label, annotation or environment variable.
type NameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// App says how the image's author wants a program of it to be run. The fields are
// those of appc's image manifest ("app"); OCI's config maps onto the same.
type App struct {
	Exec []string `json:"exec,omitempty"`
	// DefaultArgs stand behind Exec unless the user gives arguments (OCI: Cmd). An ACI
	// has none.
	DefaultArgs       []string       `json:"defaultArgs,omitempty"`
	User              string         `json:"user"`  // name, number, or absolute path whose owner it is
	Group             string         `json:"group"` // likewise; empty: the user's own
	SupplementaryGIDs []uint32       `json:"supplementaryGIDs,omitempty"`
	WorkingDirectory  string         `json:"workingDirectory,omitempty"`
	Environment       []NameValue    `json:"environment,omitempty"`
	MountPoints       []MountPoint   `json:"mountPoints,omitempty"`
	Ports             []Port         `json:"ports,omitempty"`
	Isolators         []Isolator     `json:"isolators,omitempty"`
	EventHandlers     []EventHandler `json:"eventHandlers,omitempty"`
	// StopSignal asks the app to end, such as SIGQUIT (OCI only). Empty: SIGTERM.
	StopSignal string `json:"stopSignal,omitempty"`
}

// MountPoint is a place in the root where the app expects a volume.
type MountPoint struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Port is one the app listens on.
type Port struct {
	Name            string `json:"name"`
	Protocol        string `json:"protocol"`
	Port            uint16 `json:"port"`
	Count           uint16 `json:"count,omitempty"`
	SocketActivated bool   `json:"socketActivated,omitempty"`
}

// Isolator is a limit or permission, still as the image wrote it; pod knows what the
// values mean.
type Isolator struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// EventHandler is a command to run before or after the app.
type EventHandler struct {
	Name string   `json:"name"`
	Exec []string `json:"exec"`
}

// Validate reports what makes m unusable.
func (m Meta) Validate() error {
	if m.Digest.IsZero() {
		return errors.New("image: no digest")
	}
	if _, err := ParseName(string(m.Name)); err != nil {
		return err
	}
	for i, app := range m.Apps {
		if app.User == "" {
			return fmt.Errorf("image %s: app %d: a user is required", m.Name, i)
		}
	}
	return nil
}

// Label returns the label's value, such as "version", "os" or "arch".
func (m Meta) Label(name string) (string, bool) {
	for _, l := range m.Labels {
		if l.Name == name {
			return l.Value, true
		}
	}
	return "", false
}

func (m Meta) clone() Meta {
	m.Labels = slices.Clone(m.Labels)
	m.Annotations = slices.Clone(m.Annotations)
	m.Dependencies = slices.Clone(m.Dependencies)
	for i := range m.Dependencies {
		m.Dependencies[i].Labels = slices.Clone(m.Dependencies[i].Labels)
	}
	m.PathWhitelist = slices.Clone(m.PathWhitelist)
	m.Apps = slices.Clone(m.Apps)
	for i := range m.Apps {
		m.Apps[i] = m.Apps[i].clone()
	}
	return m
}

func (a App) clone() App {
	a.Exec = slices.Clone(a.Exec)
	a.DefaultArgs = slices.Clone(a.DefaultArgs)
	a.SupplementaryGIDs = slices.Clone(a.SupplementaryGIDs)
	a.Environment = slices.Clone(a.Environment)
	a.MountPoints = slices.Clone(a.MountPoints)
	a.Ports = slices.Clone(a.Ports)
	a.Isolators = slices.Clone(a.Isolators)
	for i := range a.Isolators {
		a.Isolators[i].Value = slices.Clone(a.Isolators[i].Value)
	}
	a.EventHandlers = slices.Clone(a.EventHandlers)
	for i := range a.EventHandlers {
		a.EventHandlers[i].Exec = slices.Clone(a.EventHandlers[i].Exec)
	}
	return a
}
