package main

import (
	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/pod"
)

// surroundings are the options about what an app shares with the host.
type surroundings struct {
	network string
	volumes []string
}

func (o *surroundings) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.network, "network", "", "none or host (default: none; at tier host: host)")
	f.StringArrayVarP(&o.volumes, "volume", "v", nil, "show the app a directory or file of the host, HOST-DIR:CONTAINER-DIR[:ro|rw]")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "net" {
			name = "network"
		}
		return pflag.NormalizedName(name)
	})
}

// apply puts them into v.
func (o *surroundings) apply(v *pod.Overrides) error {
	v.Network = o.network
	for _, s := range o.volumes {
		volume, err := pod.ParseVolume(s)
		if err != nil {
			return err
		}
		v.Volumes = append(v.Volumes, volume)
	}
	return nil
}
