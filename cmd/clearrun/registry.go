package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/image/discovery"
	"github.com/clearrun/clearrun/image/registry"
	"github.com/clearrun/clearrun/pod"
)

// registryOptions say how to speak to registries.
type registryOptions struct {
	pull      string
	tlsCA     string
	authFile  string
	plainHTTP bool
}

func (o *registryOptions) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.pull, "pull", "", "ask the registry or web site: missing (if the image is not in the store), always, never (default missing)")
	f.StringVar(&o.tlsCA, "tls-ca", "", "file with the certificate of its authority (PEM)")
	f.StringVar(&o.authFile, "auth-file", "", "file with credentials (default: podman's, then docker's)")
	f.BoolVar(&o.plainHTTP, "plain-http", false, "speak to the registry without TLS, and without credentials")
}

// apply puts the options into those of package pod.
func (o *registryOptions) apply(po *pod.Options, g globals, io stdio) error {
	var err error
	if po.Pull, err = pod.ParsePullPolicy(o.pull); err != nil {
		return fmt.Errorf("--pull: %w", err)
	}
	po.Registry = registry.Options{
		CAFile: o.tlsCA, PlainHTTP: o.plainHTTP, AuthFile: o.authFile, UserAgent: "clearrun/" + version,
		Notice: io.notice,
	}
	po.Discovery = discovery.Options{CAFile: o.tlsCA, UserAgent: po.Registry.UserAgent}
	if isTerminal(io.err) {
		po.Registry.Progress = newProgressBar(io.err).show
	}
	po.Registry.Mirrors, err = registry.LoadMirrors(g.registriesFiles()...)
	return err
}

// registriesFiles are where mirrors may be named; the first that exists counts.
func (g globals) registriesFiles() []string {
	const name = "registries.yaml"
	if g.configDir != "" {
		return []string{filepath.Join(g.configDir, name)}
	}
	var list []string
	if dir, err := os.UserConfigDir(); err == nil {
		list = append(list, filepath.Join(dir, "clearrun", name))
	}
	return append(list, filepath.Join("/etc/clearrun", name))
}
