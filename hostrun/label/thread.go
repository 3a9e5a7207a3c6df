package label

import selinux "github.com/opencontainers/selinux/go-selinux"

// LabelSockets labels the sockets that this thread makes from now on like the holder's processes,
// who are to use them. The caller has locked its thread, and calls UnlabelSockets.
func (l *Lease) LabelSockets() error {
	if l.process == "" {
		return nil
	}
	return selinux.SetSocketLabel(l.process)
}

// UnlabelSockets takes back LabelSockets.
func UnlabelSockets() { _ = selinux.SetSocketLabel("") }
