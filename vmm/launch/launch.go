// Package launch is the contract between vmrun, which starts a monitor process,
// and cmd/clearrun-monitor: a configuration passed in a sealed memory file,
// beside open file descriptors, and a report on how the VM ended.
//
// The monitor gets no path: whatever it may touch is already open.
package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ConfigFD is the descriptor on which the monitor finds its Config. The
// descriptors that Config names follow it.
const ConfigFD = 3

// maxConfig bounds the configuration in bytes.
const maxConfig = 1 << 20

// Section is a part of an open file.
type Section struct {
	FD           int
	Offset, Size int64
}

// Disk is the root disk: a read-only image with its dm-verity hash tree.
type Disk struct {
	FD         int
	Size       uint64 // of the data, in bytes
	DataBlocks uint64
	HashOffset uint64
	RootHash   []byte
	Salt       []byte
}

// Config is all that a monitor needs to know.
type Config struct {
	KVM    int // descriptor of /dev/kvm
	Memory uint64
	VCPUs  int

	Kernel, Initramfs Section
	CmdLine           string
	Root              *Disk

	// Control is a Unix SOCK_SEQPACKET socket. For each connection that the
	// guest opens to one of Ports on the host, the monitor sends the port (4
	// bytes, big-endian) with the other end of a new stream socket.
	Control int
	Ports   []uint32

	Console int // descriptor that takes the serial console, or -1
	Report  int // descriptor that takes the Report
	Marks   bool
	StopAt  uint8 // end the VM at this mark; 0: at none
	// Labelled says that the monitor was executed under an SELinux label that its parent has
	// not, and so does not yet end with it: the kernel forgets that then (PR_SET_PDEATHSIG).
	Labelled bool `json:",omitempty"`
	// Began is when clearrun started on the monitor, in nanoseconds of CLOCK_MONOTONIC;
	// 0: the report's times count from the monitor's own start.
	Began int64 `json:",omitempty"`
	// Lines is a descriptor that takes a Line for each line of the serial console, or 0
	// for none.
	Lines int `json:",omitempty"`

	// Samples is a descriptor that takes a Sample of each vCPU every SampleEvery, or 0
	// for none.
	Samples     int           `json:",omitempty"`
	SampleEvery time.Duration `json:",omitempty"`
}

// GuestCID is the guest's vsock context ID; each VM has a device of its own, so
// that it need not differ.
const GuestCID = 3

// Outcome says how a VM ended.
type Outcome string

const (
	PoweredOff Outcome = "powered-off"
	Reached    Outcome = "reached" // the mark to stop at
	Crashed    Outcome = "crashed"
	Corrupt    Outcome = "corrupt-image"
	Failed     Outcome = "failed"
)

// Milestones. The monitor sets MarkEntry before the guest's first instruction,
// the guest kernel MarkInit before PID 1, and guest/init the rest.
const (
	MarkEntry   = 0
	MarkInit    = 1
	MarkMain    = 0x10 // PID 1 runs its own code, behind Go's runtime
	MarkStarted = 0x15 // the app has been executed
)

// Mark is a milestone of a start.
type Mark struct {
	Mark         uint8
	Nanoseconds  int64  // since Config.Began
	Instructions uint64 `json:",omitempty"` // emulated so far, on hosts that count them
	Interrupts   uint64 `json:",omitempty"` // taken so far
}

// Step is a part of the monitor's own work before the guest's first instruction.
type Step struct {
	Name        string
	Nanoseconds int64 // when it ended, since Config.Began
}

// Report is the monitor's last word.
type Report struct {
	Outcome      Outcome
	Error        string `json:",omitempty"`
	LastWords    string `json:",omitempty"` // of the guest's kernel, if it ended by itself: any bytes
	Host         string
	Setup        []Step            `json:",omitempty"`
	Marks        []Mark            `json:",omitempty"`
	Ended        int64             // nanoseconds since Config.Began
	Exits        map[string]uint64 // from the guest, by reason
	Devices      map[string]uint64 // of these, port and MMIO accesses by device
	KVM          map[string]uint64 `json:",omitempty"` // KVM's statistics, "vm.NAME" and "vcpu.NAME"; only with Config.Marks
	Instructions uint64            `json:",omitempty"`
	Copied       uint64            // bytes put into guest memory by copying
	RSS          uint64            // of the monitor, in bytes; this and the next only with Config.Marks
	GuestRSS     uint64            // of which guest memory: what was touched of it
	CPUTime      int64             // of the monitor, vCPUs included, in nanoseconds
}

// ReadConfig reads and checks a configuration.
func ReadConfig(r io.Reader) (*Config, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("read monitor configuration: %w", err)
	}
	if len(data) > maxConfig {
		return nil, errors.New("monitor configuration is too long")
	}
	c := &Config{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("monitor configuration: %w", err)
	}
	if c.Kernel.Size <= 0 || c.Control <= ConfigFD || c.KVM <= ConfigFD {
		return nil, errors.New("monitor configuration lacks kernel, control socket or KVM")
	}
	return c, nil
}
