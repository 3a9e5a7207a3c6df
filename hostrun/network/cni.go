package network

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/utils"
)

// CNI is where networks are described for the Container Network Interface (cni.dev), and the
// programs that make them, its plugins. It is for root: plugins change the host's network.
type CNI struct {
	ConfigDir  string   // empty: DefaultConfigDir
	PluginDirs []string // absolute; empty: DefaultPluginDirs
	StateDir   string   // of records and results; empty: StateDir
	// Patience bounds how long the plugins of a network may take; 0: a minute.
	Patience time.Duration
}

// The places where other container engines look, too.
const (
	DefaultConfigDir = "/etc/cni/net.d"
	// StateDir is one for all of the host.
	StateDir = "/var/lib/clearrun/cni"
)

// DefaultPluginDirs are where plugins are installed by hand, and by Debian's package.
func DefaultPluginDirs() []string { return []string{"/opt/cni/bin", "/usr/lib/cni"} }

// PluginPackage is Debian's, of the plugins that come with CNI.
const PluginPackage = "containernetworking-plugins"

// cniPatience is Patience, where nothing else is said.
const cniPatience = time.Minute

func (c CNI) withDefaults() CNI {
	c.ConfigDir = cmp.Or(c.ConfigDir, DefaultConfigDir)
	c.StateDir = cmp.Or(c.StateDir, StateDir)
	c.Patience = cmp.Or(c.Patience, cniPatience)
	if len(c.PluginDirs) == 0 {
		c.PluginDirs = DefaultPluginDirs()
	}
	return c
}

// Network is one that a file describes.
type Network struct {
	cni  CNI
	file string
	list *libcni.NetworkConfigList
}

// maxConfig bounds a file, in bytes.
const maxConfig = 1 << 20

// Find reads the description of a network, and looks for its plugins.
func (c CNI) Find(name string) (*Network, error) {
	c = c.withDefaults()
	all, broken, err := c.networks()
	if err != nil {
		return nil, fmt.Errorf("network cni:%s: %w", name, err)
	}
	var found []*Network
	var names []string
	for _, n := range all {
		names = append(names, n.list.Name)
		if n.list.Name == name {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return nil, c.unknown(name, names, broken)
	case 1:
		return found[0], found[0].checkPlugins()
	}
	return nil, fmt.Errorf("network cni:%s: both %s and %s are of this name: remove or rename one of them", name, found[0].file, found[1].file)
}

// unknown says which networks there are instead.
func (c CNI) unknown(name string, names []string, broken []error) error {
	have := "none"
	if len(names) > 0 {
		slices.Sort(names)
		have = strings.Join(names, ", ") + ", one of which may be meant"
	}
	err := fmt.Errorf("network cni:%s is unknown: %s describes %s: write %s.conflist there (cni.dev), or name another directory (--cni-config-dir)", name, c.ConfigDir, have, name)
	return errors.Join(append([]error{err}, broken...)...)
}

// Networks lists the names of all that are described, for people to read, and what is
// wrong with files that cannot be read.
func (c CNI) Networks() (names []string, broken []error) {
	all, broken, err := c.withDefaults().networks()
	if err != nil {
		return nil, []error{err}
	}
	for _, n := range all {
		names = append(names, n.list.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), broken
}

// Plugins lists the directories that have any.
func (c CNI) Plugins() (dirs []string) {
	for _, dir := range c.withDefaults().PluginDirs {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// networks reads the files of the directory. A directory that is not there has none.
func (c CNI) networks() (found []*Network, broken []error, err error) {
	entries, err := os.ReadDir(c.ConfigDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range entries {
		path := filepath.Join(c.ConfigDir, e.Name())
		ext := filepath.Ext(path)
		if e.IsDir() || ext != ".conflist" && ext != ".conf" && ext != ".json" {
			continue
		}
		list, err := readConfig(path, ext == ".conflist")
		if err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", path, err))
			continue
		}
		found = append(found, &Network{c, path, list})
	}
	return found, broken, nil
}

// readConfig reads a list of plugins' configurations, or (isList is false) a single one.
func readConfig(path string, isList bool) (*libcni.NetworkConfigList, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxConfig:
		return nil, fmt.Errorf("longer than %d bytes", maxConfig)
	}
	if isList {
		return parseList(data, filepath.Dir(path))
	}
	return parseSingle(data)
}

// parseList reads a list. Plugins that it does not hold itself lie in a directory of its name,
// in dir, unless it says that there are none.
func parseList(data []byte, dir string) (*libcni.NetworkConfigList, error) {
	list, err := libcni.NetworkConfFromBytes(data)
	if err != nil {
		return nil, err
	}
	if fault := utils.ValidateNetworkName(list.Name); fault != nil {
		return nil, fault
	}
	if !list.LoadOnlyInlinedPlugins && dir != "" {
		more, err := libcni.NetworkPluginConfsFromFiles(dir, list.Name)
		if err != nil {
			return nil, err
		}
		list.Plugins = append(list.Plugins, more...)
	}
	return whole(list)
}

// parseSingle reads the configuration of one plugin, which is a network by itself.
func parseSingle(data []byte) (*libcni.NetworkConfigList, error) {
	plugin, err := libcni.NetworkPluginConfFromBytes(data)
	if err != nil {
		return nil, err
	}
	if fault := utils.ValidateNetworkName(plugin.Network.Name); fault != nil {
		return nil, fault
	}
	return whole(&libcni.NetworkConfigList{
		Name: plugin.Network.Name, CNIVersion: plugin.Network.CNIVersion, Plugins: []*libcni.PluginConfig{plugin},
	})
}

// wholeList is a list that holds all of its plugins.
type wholeList struct {
	Name       string            `json:"name"`
	CNIVersion string            `json:"cniVersion,omitempty"`
	Inlined    bool              `json:"loadOnlyInlinedPlugins"`
	Plugins    []json.RawMessage `json:"plugins"`
}

// whole makes a list that says all in its Bytes: what is recorded before plugins are
// called is then just what they are called with.
func whole(list *libcni.NetworkConfigList) (*libcni.NetworkConfigList, error) {
	w := wholeList{Name: list.Name, CNIVersion: list.CNIVersion, Inlined: true}
	for _, p := range list.Plugins {
		w.Plugins = append(w.Plugins, p.Bytes)
	}
	if len(w.Plugins) == 0 {
		return nil, errors.New("has no plugins")
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(data)
}

// checkPlugins looks for the programs, those for addresses among them, before anything is
// changed.
func (n *Network) checkPlugins() error {
	for _, p := range n.list.Plugins {
		for _, name := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if name == "" {
				continue
			}
			if _, err := invoke.FindInPath(name, n.cni.PluginDirs); err != nil {
				return fmt.Errorf("network cni:%s: plugin %q, which %s asks for, is in none of %s: apt install %s, or name its directory (--cni-plugin-dir)",
					n.list.Name, name, n.file, strings.Join(n.cni.PluginDirs, ", "), PluginPackage)
			}
		}
	}
	return nil
}

// interfaceName is what the container's interface is called.
const interfaceName = "eth0"

// Connect has the plugins connect the network namespace of PID 1, which the caller has not reaped. It
// must be called on a locked thread, and closed there: what it starts ends with the thread.
func (n *Network) Connect(ctx context.Context, pid int, ports []Port) (*Connection, error) {
	fail := func(err error) (*Connection, error) {
		return nil, fmt.Errorf("network cni:%s: %w", n.list.Name, err)
	}
	ns, err := openNamespaces(pid)
	if err != nil {
		return fail(err)
	}
	defer ns.close()
	if err := n.checkPorts(ports); err != nil {
		return nil, err
	}
	// Rules of a firewall take no port. Held here, nobody else can have it meanwhile.
	held, err := reserve(ports)
	if err != nil {
		return nil, err
	}
	a, err := n.cni.record(n.list, ports)
	if err != nil {
		held.release()
		return fail(err)
	}
	a.ports = held
	if err := pin(ns.net, a.record.NetNS); err != nil {
		a.forget()
		return fail(err)
	}
	c, err := a.add(ctx)
	if err == nil {
		return c, nil
	}
	if undo := a.Close(); undo != nil {
		err = errors.Join(err, undo)
	}
	return fail(fmt.Errorf("%w: mend %s, or use another network", err, n.file))
}

// portMappings is the capability of plugins that publish ports (CNI conventions).
const portMappings = "portMappings"

// checkPorts looks for a plugin that publishes ports, if there are any to publish.
func (n *Network) checkPorts(ports []Port) error {
	publishes := func(p *libcni.PluginConfig) bool { return p.Network.Capabilities[portMappings] }
	if len(ports) == 0 || slices.ContainsFunc(n.list.Plugins, publishes) {
		return nil
	}
	return fmt.Errorf("network cni:%s: none of its plugins publishes ports: add {\"type\": \"portmap\", \"capabilities\": {%q: true}} to %s, or publish none", n.list.Name, portMappings, n.file)
}
