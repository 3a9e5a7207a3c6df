package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/hostrun"
	"github.com/clearrun/clearrun/hostrun/network"
)

// cniOptions say where the networks of CNI are described.
type cniOptions struct {
	cniConfig  string
	cniPlugins []string
}

func (o *cniOptions) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.cniConfig, "cni-config-dir", network.DefaultConfigDir, "where --network cni:NAME is described")
	f.StringArrayVar(&o.cniPlugins, "cni-plugin-dir", nil, "where its plugins are; repeatable, or a list with colons (default "+strings.Join(network.DefaultPluginDirs(), ":")+")")
}

// places makes the paths absolute: plugins run elsewhere.
func (o *cniOptions) places() network.CNI {
	c := network.CNI{ConfigDir: absolute(o.cniConfig)}
	for _, list := range o.cniPlugins {
		for _, dir := range filepath.SplitList(list) {
			if dir != "" {
				c.PluginDirs = append(c.PluginDirs, absolute(dir))
			}
		}
	}
	return c
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// examineNetwork says by what --network user works, and which networks of CNI there are. Their lack
// keeps nothing else from running.
func examineNetwork() finding {
	x := finding{Name: "network", OK: true}
	path, err := hostrun.UserNetwork()
	if err != nil {
		x.Value = "no user-mode network (" + err.Error() + ")"
	} else {
		x.Value = "user-mode by " + path
	}
	x.Value += "; " + examineCNI(network.CNI{})
	return x
}

// examineCNI says what there is of CNI.
func examineCNI(c network.CNI) string {
	names, broken := c.Networks()
	plugins := c.Plugins()
	switch {
	case len(names) == 0 && len(broken) == 0 && len(plugins) == 0:
		return fmt.Sprintf("nothing of CNI (apt install %s, and describe networks in %s)", network.PluginPackage, network.DefaultConfigDir)
	case len(plugins) == 0:
		return fmt.Sprintf("CNI: networks %s, but no plugins (apt install %s)", listed(names), network.PluginPackage)
	}
	text := fmt.Sprintf("CNI: networks %s, plugins in %s", listed(names), strings.Join(plugins, ", "))
	for _, err := range broken {
		text += "; cannot read " + err.Error()
	}
	return text
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
