package pod

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/image"
	"github.com/clearrun/clearrun/trust"
)

// IOLimits bounds what an app does to block devices, in each second.
type IOLimits struct {
	// BytesPerSecond and OpsPerSecond bound the reads of each device that is there when the app
	// starts, and likewise its writes. 0: nothing does.
	BytesPerSecond, OpsPerSecond uint64
	// Devices bounds single devices, in place of the above.
	Devices []DeviceLimit
	// Weight is the app's share where devices are busy, IOWeightMin to IOWeightMax; 0: the
	// kernel's default.
	Weight int
}

// The bounds of a weight, as in docker.
const (
	IOWeightMin = 10
	IOWeightMax = 1000
)

// DeviceLimit bounds one kind of access to one device.
type DeviceLimit struct {
	Path string // of the device's node
	Kind IOKind
	Rate uint64 // bytes or operations per second, 2 or more
	// Device is the number behind Path, as in stat(2). A Pod has it.
	Device uint64
}

// IOKind is what a rate is of. The values are the kernel's words (cgroup-v2.rst, io.max).
type IOKind string

const (
	ReadBytes  IOKind = "rbps"
	WriteBytes IOKind = "wbps"
	ReadOps    IOKind = "riops"
	WriteOps   IOKind = "wiops"
)

// IOKinds lists all of them.
func IOKinds() []IOKind { return []IOKind{ReadBytes, WriteBytes, ReadOps, WriteOps} }

// inBytes says whether a rate of the kind is a size.
func (k IOKind) inBytes() bool { return k == ReadBytes || k == WriteBytes }

// rateMin is the least rate that version 2 of cgroups takes.
const rateMin = 2

// opsMax is the kernel's bound of operations per second.
const opsMax = 1<<32 - 2

// ParseDeviceLimit reads PATH:RATE, as docker has it: RATE is a size, such as 1m, or of
// operations a number.
func ParseDeviceLimit(kind IOKind, s string) (DeviceLimit, error) {
	l := DeviceLimit{Kind: kind}
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || s[0] != '/' {
		return l, fmt.Errorf("%q: want a device and a rate, such as /dev/sda:%s", s, map[bool]string{true: "10m", false: "100"}[kind.inBytes()])
	}
	var err error
	if l.Path = s[:i]; kind.inBytes() {
		l.Rate, err = image.ParseSize(s[i+1:])
	} else {
		l.Rate, err = strconv.ParseUint(s[i+1:], 10, 64)
		if err != nil || l.Rate > opsMax {
			err = fmt.Errorf("%q is not a number of operations", s[i+1:])
		}
	}
	if err == nil && l.Rate < rateMin {
		err = errors.New("a rate below 2 lets nothing through")
	}
	if err != nil {
		return l, fmt.Errorf("%q: %w", s, err)
	}
	return l, nil
}

// resolve finds the device.
func (l DeviceLimit) resolve() (DeviceLimit, error) {
	var stat unix.Stat_t
	if err := unix.Stat(l.Path, &stat); err != nil {
		return l, fmt.Errorf("limit of %s: %w", l.Path, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return l, fmt.Errorf("limit of %s: it is not a block device", l.Path)
	}
	l.Device = stat.Rdev
	dir := fmt.Sprintf("/sys/dev/block/%d:%d/partition", unix.Major(l.Device), unix.Minor(l.Device))
	if unix.Access(dir, unix.F_OK) == nil {
		return l, fmt.Errorf("limit of %s: it is a partition, and the kernel bounds whole disks alone: name its disk", l.Path)
	}
	return l, nil
}

// errNoDevices is about a tier without block devices.
var errNoDevices = errors.New("limits on block devices: a VM's app has none of the host's: leave them out, or ask for tier ns (--ns) or host (--host), where the policy allows it")

// limitIO takes the limits of image and user together. In a VM those of an image stay
// undone, which the isolator report says.
func limitIO(iso isolation, o Overrides, tier trust.Tier) (*IOLimits, error) {
	if tier == trust.TierVM {
		if len(o.DeviceLimits) > 0 || o.IOWeight != 0 {
			return nil, errNoDevices
		}
		return nil, nil
	}
	if o.IOWeight != 0 && (o.IOWeight < IOWeightMin || o.IOWeight > IOWeightMax) {
		return nil, fmt.Errorf("weight %d of block I/O: want %d to %d", o.IOWeight, IOWeightMin, IOWeightMax)
	}
	l := &IOLimits{BytesPerSecond: iso.ioBytes, OpsPerSecond: iso.ioOps, Weight: o.IOWeight}
	for _, d := range o.DeviceLimits {
		d, err := d.resolve()
		if err != nil {
			return nil, err
		}
		l.Devices = append(l.Devices, d)
	}
	if l.BytesPerSecond == 0 && l.OpsPerSecond == 0 && l.Weight == 0 && len(l.Devices) == 0 {
		return nil, nil
	}
	return l, nil
}

// ioEnforcement says what became of an isolator about block devices, whose rate is asked for.
func (p *Pod) ioEnforcement(asked uint64, what string) (EnforcementState, string) {
	switch {
	case asked == 0:
		return Enforced, noLimit
	case p.Resources.IO == nil:
		return Unenforced, "in a VM, what the monitor reads of the root image has no limit; tiers ns and host have one"
	}
	detail := what + " per second of reads, and of writes, for each device that is there at the start"
	if len(p.Resources.IO.Devices) > 0 {
		detail += ", but for what the user's options say"
	}
	return Adjusted, detail
}
