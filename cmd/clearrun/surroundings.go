package main

import (
	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/hostrun/label"
	"github.com/clearrun/clearrun/pod"
)

// surroundings are the options about what an app shares with the host.
type surroundings struct {
	network string
	userNS  string
	publish []string
	volumes []string
	secOpts []string
}

func (o *surroundings) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.network, "network", "", "none, host, user, out through pasta, or cni:NAME, as a file in --cni-config-dir describes it, for root (default: none; at tier host: host)")
	f.StringArrayVarP(&o.publish, "publish", "p", nil, "reach the app at ports of the host, [ADDRESS:]HOST-PORT:PORT[/tcp|udp], with the network user or cni:NAME; ports may be ranges, and without an address all of the host's are listened on")
	f.StringVar(&o.userNS, "userns", "", "auto: root of the container is nobody on the host, by a range of IDs that no other has; host: root is root (default for root; tier ns)")
	f.StringArrayVarP(&o.volumes, "volume", "v", nil, "show the app a directory or file of the host, HOST-DIR:CONTAINER-DIR[:ro|rw][,z|Z]; z and Z give it an SELinux label that all containers or this one may use")
	f.StringArrayVar(&o.secOpts, "security-opt", nil, "SELinux label of the app, or of its VM, as in docker: label=type:T, label=level:s0:cA,cB, label=user:U, label=role:R or label=disable")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "net" {
			name = "network"
		}
		return pflag.NormalizedName(name)
	})
}

// apply puts them into v.
func (o *surroundings) apply(v *pod.Overrides) (err error) {
	if v.Label, err = label.Parse(o.secOpts); err != nil {
		return err
	}
	v.Network, v.UserNS = o.network, o.userNS
	for _, s := range o.publish {
		p, err := pod.ParsePublication(s)
		if err != nil {
			return err
		}
		v.Publish = append(v.Publish, p)
	}
	for _, s := range o.volumes {
		volume, err := pod.ParseVolume(s)
		if err != nil {
			return err
		}
		v.Volumes = append(v.Volumes, volume)
	}
	return nil
}
