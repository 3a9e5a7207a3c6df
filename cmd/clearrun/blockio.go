package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/clearrun/clearrun/pod"
)

// blockIO are the options about block devices, spelled as docker spells them.
type blockIO struct {
	rates  [len(rateFlags)][]string // in the order of rateFlags
	weight int
}

// rateFlags are the names of the options, by what they bound.
var rateFlags = [...]struct {
	kind        pod.IOKind
	name, usage string
}{
	{pod.ReadBytes, "device-read-bps", "at tiers ns and host, read at most so much of a block device in a second, PATH:RATE, such as /dev/sda:10m"},
	{pod.WriteBytes, "device-write-bps", "write at most so much to it"},
	{pod.ReadOps, "device-read-iops", "read so often at most, PATH:NUMBER"},
	{pod.WriteOps, "device-write-iops", "write so often at most"},
}

func (o *blockIO) addTo(f *pflag.FlagSet) {
	for i, r := range rateFlags {
		f.StringArrayVar(&o.rates[i], r.name, nil, r.usage)
	}
	f.IntVar(&o.weight, "blkio-weight", 0, fmt.Sprintf("at tiers ns and host, share of busy block devices, %d to %d (0: the kernel's default)", pod.IOWeightMin, pod.IOWeightMax))
}

// apply puts them into v.
func (o *blockIO) apply(v *pod.Overrides) error {
	v.IOWeight = o.weight
	for i, r := range rateFlags {
		for _, s := range o.rates[i] {
			limit, err := pod.ParseDeviceLimit(r.kind, s)
			if err != nil {
				return fmt.Errorf("--%s: %w", r.name, err)
			}
			v.DeviceLimits = append(v.DeviceLimits, limit)
		}
	}
	return nil
}
