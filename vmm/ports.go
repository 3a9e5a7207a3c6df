package vmm

// Ports of the PC platform that a Linux guest touches even when it has no such
// hardware.
const (
	portI8042Data = 0x60
	portCOM1      = 0x3f8

	// i8042PulseReset is the keyboard controller's command to reset the machine.
	i8042PulseReset = 0xfe
)

// ignoredPort reads as zero and drops what is written.
type ignoredPort struct{}

func (ignoredPort) Read(_ uint64, p []byte)  { clear(p) }
func (ignoredPort) Write(_ uint64, _ []byte) {}

// resetPort is the keyboard controller's command port; of its commands only
// the machine's reset is served, by which Linux powers off (reboot=k).
type resetPort struct {
	ignoredPort
	reset func()
}

func (r *resetPort) Write(_ uint64, p []byte) {
	if p[0] == i8042PulseReset {
		r.reset()
	}
}

// stopWatch takes milestones of the guest, by port or by MMIO: of whatever the guest
// writes there, the lowest byte counts.
type stopWatch struct{ onMark func(byte) }

func (stopWatch) Read(_ uint64, p []byte)    { clear(p) }
func (s stopWatch) Write(_ uint64, p []byte) { s.onMark(p[0]) }
