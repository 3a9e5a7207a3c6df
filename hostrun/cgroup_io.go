package hostrun

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clearrun/clearrun/pod"
)

// blkio is the name of the controller of block devices in version 1; in version 2 it is io.
const blkio = "blkio"

// throttles are the files of version 1 (blkio-controller.rst). In version 2 the kinds are
// keys in io.max.
var throttles = map[pod.IOKind]string{
	pod.ReadBytes:  "blkio.throttle.read_bps_device",
	pod.WriteBytes: "blkio.throttle.write_bps_device",
	pod.ReadOps:    "blkio.throttle.read_iops_device",
	pod.WriteOps:   "blkio.throttle.write_iops_device",
}

// neededFor is h without the controller of block devices where r limits nothing there: each
// one costs a start some system calls.
func (h hierarchies) neededFor(r pod.Resources) hierarchies {
	if r.IO != nil {
		return h
	}
	isIO := func(controller string) bool { return controller == blkio }
	h.controllers = slices.DeleteFunc(slices.Clone(h.controllers), isIO)
	h.v1 = maps.Clone(h.v1)
	delete(h.v1, blkio)
	return h
}

// ioSettings are those of l, the ones for all devices first.
func ioSettings(l *pod.IOLimits) ([]setting, error) {
	if l == nil {
		return nil, nil
	}
	var list []setting
	if l.BytesPerSecond != 0 || l.OpsPerSecond != 0 {
		devices, err := blockDevices()
		if err != nil {
			return nil, fmt.Errorf("limit block devices: %w", err)
		}
		for _, device := range devices {
			for _, kind := range pod.IOKinds() {
				rate := l.OpsPerSecond
				if kind == pod.ReadBytes || kind == pod.WriteBytes {
					rate = l.BytesPerSecond
				}
				if rate != 0 {
					s := throttle(device, kind, rate)
					s.fleeting = true
					list = append(list, s)
				}
			}
		}
	}
	for _, d := range l.Devices {
		list = append(list, throttle(fmt.Sprintf("%d:%d", unix.Major(d.Device), unix.Minor(d.Device)), d.Kind, d.Rate))
	}
	return list, nil
}

func throttle(device string, kind pod.IOKind, rate uint64) setting {
	n := strconv.FormatUint(rate, 10)
	return setting{blkio, throttles[kind], "io.max", device + " " + n, device + " " + string(kind) + "=" + n, false, false}
}

// blockDevices lists the numbers of the host's disks that hold anything, MAJOR:MINOR.
func blockDevices() (devices []string, err error) {
	paths, err := filepath.Glob("/sys/block/*")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		size, err := os.ReadFile(path + "/size")
		if err != nil || strings.TrimSpace(string(size)) == "0" {
			continue // a loop device without a file, or it is gone
		}
		number, err := os.ReadFile(path + "/dev")
		if err != nil {
			return nil, err
		}
		devices = append(devices, strings.TrimSpace(string(number)))
	}
	return devices, nil
}

// weigh sets the share of a busy device. Which of the kernel's schedulers keeps it, BFQ or
// version 2's cost model, depends on the device: all that are there are told.
func (c *cgroup) weigh(l *pod.IOLimits) error {
	if l == nil || l.Weight == 0 {
		return nil
	}
	const v2Max = 10_000 // of io.weight, from 1
	scaled := 1 + (l.Weight-pod.IOWeightMin)*(v2Max-1)/(pod.IOWeightMax-pod.IOWeightMin)
	path, files := c.paths[blkio], map[string]int{"blkio.bfq.weight": l.Weight}
	if c.pure {
		path, files = c.paths[""], map[string]int{"io.bfq.weight": l.Weight, "io.weight": scaled}
	}
	told := false
	for file, weight := range files {
		if path != "" && write(path, file, strconv.Itoa(weight)) == nil {
			told = true
		}
	}
	if !told {
		return errors.New("weight of block I/O: this kernel keeps none: load its scheduler (modprobe bfq), or leave out --blkio-weight")
	}
	return nil
}
