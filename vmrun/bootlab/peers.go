package bootlab

// Peer is another way to start a VM, timed in turns with clearrun's own on this machine.
type Peer struct {
	Name        string
	Nanoseconds []int64 // of each run
}
