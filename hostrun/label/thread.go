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

// Start has start, which is to start a process, start it with the label. The caller has
// locked its thread.
func (l *Lease) Start(start func() error) error {
	if l.process == "" {
		return start()
	}
	if err := selinux.SetExecLabel(l.process); err != nil {
		return err
	}
	defer func() { _ = selinux.SetExecLabel("") }()
	return start()
}
